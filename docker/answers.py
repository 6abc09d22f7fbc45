"""Exit 0 if the address in the first argument answers with 200: the image has no curl."""

import sys
from urllib.request import urlopen

sys.exit(urlopen(sys.argv[1], timeout=8).status != 200)  # noqa: S310  the address is compose's own
