"""The embedded model: a small Qwen2.5-VL trained from scratch on the documents of :mod:`pipeline.samples`."""
