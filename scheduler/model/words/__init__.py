"""Sentences that keep what they say as values, so that a catalogue can say it in another language.

A rule, a condition or an offer builds a `Sentence` of a `Message`: text in English, which records
keep, with a slug and named values beside it. Nothing here reads a file.
Start with `sentence.py`; `phrases.py` has how a language writes lists, numbers and instants.
"""
