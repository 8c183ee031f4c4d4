"""Questions on page images with known answers: reading such data sets, and measuring a model on them."""
