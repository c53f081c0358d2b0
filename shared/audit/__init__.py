"""The verifier: recomputes a log from its bytes and shares no code with what wrote them."""
