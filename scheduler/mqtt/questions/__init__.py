"""Questions to sites about one order, and their answers. Start with `site_questions.py`."""
