"""What tests share, and is no test: servers, databases, samples, other programs."""
