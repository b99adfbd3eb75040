"""Or what finds nothing proves nothing."""

import base64
import gzip
import json
import zlib
from urllib.parse import quote

import pytest

from tests.support.secrets_search import Search

SECRET = 'Kq7vPzR2mW9x/T%b\\4L é"sX0cVn5Jh8Gd\n'
CONTENT = f"before {SECRET} after".encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CONTENT, id="plain"),
        pytest.param(json.dumps(SECRET).encode(), id="JSON"),
        pytest.param(repr(repr(SECRET)).encode(), id="repr"),
        pytest.param(quote(SECRET).encode(), id="URL"),
        pytest.param(SECRET.split("/")[0].encode(), id="a part"),
        pytest.param(base64.b64encode(CONTENT), id="base64"),
        pytest.param(base64.b64encode(b"1" + CONTENT), id="base64, one further"),
        pytest.param(base64.urlsafe_b64encode(b"22" + CONTENT), id="base64 of URLs"),
        pytest.param(CONTENT.hex().encode(), id="hex"),
        pytest.param(b"junk" + zlib.compress(CONTENT), id="zlib"),
        pytest.param(gzip.compress(CONTENT) + b"junk", id="gzip"),
        pytest.param(
            b'{"state":"' + base64.b64encode(zlib.compress(CONTENT * 3)) + b'"}', id="dlt"
        ),
        pytest.param(gzip.compress(base64.b64encode(zlib.compress(CONTENT))), id="layers"),
        pytest.param(CONTENT.decode().encode("utf-16-le").replace(b"\0", b""), id="two bytes each"),
    ],
)
def test_a_secret_is_found_however_it_is_encoded(content: bytes) -> None:
    assert Search([SECRET]).is_below(content)
    assert not Search(["another-Zz9yYx8wWv"]).is_below(content)
