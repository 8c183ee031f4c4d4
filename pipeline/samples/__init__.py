"""Business documents the project draws itself: real PDF pages, with the value and the place of every field."""

from pipeline.samples.document import Family, FieldTruth, Sample, make_sample
from pipeline.samples.questions import QuestionTruth, ask

__all__ = ["Family", "FieldTruth", "QuestionTruth", "Sample", "ask", "make_sample"]
