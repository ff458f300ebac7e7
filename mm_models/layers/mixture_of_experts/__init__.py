"""Feed-forward halves with several experts, of which a router picks some for each token."""
