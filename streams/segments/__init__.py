"""What customers are grouped by beyond their own numbers: learned borders, clusters, traits."""
