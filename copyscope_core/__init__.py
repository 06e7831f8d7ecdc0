"""CopyScope: which model in an image workflow makes its output resemble an artist's work (arXiv 2311.12847)."""

__version__ = "0.1.0"
