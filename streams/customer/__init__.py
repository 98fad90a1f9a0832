"""One customer: what is remembered, what it means, and what is said about it."""
