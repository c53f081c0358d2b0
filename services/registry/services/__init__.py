"""Services: what they are, where they stand, who holds which role for them."""
