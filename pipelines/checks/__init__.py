"""Checks: tables of scenes and of chips against Great Expectations.

In: a data frame with one row a scene or chip, and expectations whose ``description`` says in words what must hold.
Out: findings as sentences, and Data Docs that a person can read.
"""

import logging
import os

# Both are read while great_expectations is imported, so they must be in place before.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
logging.getLogger("great_expectations").setLevel(logging.WARNING)
