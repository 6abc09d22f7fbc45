"""Links of a remote catalog to addresses that nobody allowed. ``{port}`` is a listener's that must not be reached,
``{base}`` the catalog's own server, which redirects wherever it is asked to."""

from __future__ import annotations

LINKS = {
    "loopback": "http://127.0.0.1:{port}/B03.tif",
    "loopback by name": "http://localhost:{port}/B03.tif",
    "loopback in one number": "http://2130706433:{port}/B03.tif",
    "loopback in hexadecimal": "http://0x7f000001:{port}/B03.tif",
    "loopback in octal": "http://0177.0.0.1:{port}/B03.tif",
    "loopback in short": "http://127.1:{port}/B03.tif",
    "another loopback": "http://127.13.13.13:{port}/B03.tif",
    "this machine": "http://0.0.0.0:{port}/B03.tif",
    "loopback in IPv6": "http://[::1]:{port}/B03.tif",
    "IPv4 in IPv6": "http://[::ffff:127.0.0.1]:{port}/B03.tif",
    "IPv4 behind a translator": "http://[64:ff9b::7f00:1]:{port}/B03.tif",
    "loopback over TLS": "https://127.0.0.1:{port}/B03.tif",
    "a user that looks like a host": "http://example.org@127.0.0.1:{port}/B03.tif",
    "a private network": "http://10.0.0.1/B03.tif",
    "the metadata of a cloud": "http://169.254.169.254/latest/meta-data/B03.tif",
    "redirected": "{base}/to?http://127.0.0.1:{port}/B03.tif",
    "redirected twice": "{base}/to?{base}/to?http://127.0.0.1:{port}/B03.tif",
    "redirected to another name": "{base}/to?http://localhost:{port}/B03.tif",
    "redirected over TLS": "{base}/to?https://127.0.0.1:{port}/B03.tif",
    "redirected to a file": "{base}/to?file:///etc/passwd",
    "redirected to ftp": "{base}/to?ftp://127.0.0.1:{port}/B03.tif",
    "a local file": "file:///etc/passwd",
    "gdal's own curl": "/vsicurl/http://127.0.0.1:{port}/B03.tif",
    "a bucket that is a host": "s3://127%2e0%2e0%2e1:{port}#/B03.tif",
    "a bucket that is a name and a port": "s3://localhost:{port}#/B03.tif",
    "gopher": "gopher://127.0.0.1:{port}/B03.tif",
}
