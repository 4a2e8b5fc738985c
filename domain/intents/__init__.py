"""What a call is about to do outside, written down before it is done."""
