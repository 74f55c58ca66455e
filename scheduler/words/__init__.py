"""The catalogues: what Kapok says, in English and in Chinese (`en.json`, `zh.json`).

The core says everything in English and keeps slugs and values beside it (`scheduler/model/words`);
the commands and the page say it in the language of the reader. Records and the hub hold English
only: `recognise.py` finds again which message a recorded text is, with its values.
Start with `catalogue.py`.
"""
