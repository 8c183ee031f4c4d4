"""What the embedded model is trained on beyond the documents that users can draw."""
