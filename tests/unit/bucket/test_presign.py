"""Addresses that are signed for a given time: as Amazon documents it, and as the library signs them."""

from __future__ import annotations

import calendar
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import S3Store

from pypiserver.bucket.object_store import ObjectStoreClient
from pypiserver.bucket.presign import signed_at

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, "An example"
DOCUMENTED = (
    "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"
    "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MAY = calendar.timegm((2013, 5, 24, 0, 0, 0))


def test_the_documented_example_comes_out_of_another_day_s_address() -> None:
    before = signed_at(DOCUMENTED, SECRET, MAY - 1)
    assert before is not None
    fields = parse_qs(urlsplit(before).query)
    assert (fields["X-Amz-Date"], fields["X-Amz-Credential"]) == (
        ["20130523T235959Z"],
        ["AKIAIOSFODNN7EXAMPLE/20130523/us-east-1/s3/aws4_request"],
    )
    assert signed_at(before, SECRET, MAY) == DOCUMENTED


@pytest.mark.parametrize(
    "address",
    [
        DOCUMENTED[:-1] + "5",
        DOCUMENTED.replace("test.txt", "text.txt"),
        DOCUMENTED.replace("SignedHeaders=host", "SignedHeaders=host%3Brange"),
        DOCUMENTED.partition("?")[0],
        "https://storage.example/bucket/key?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=00",
    ],
)
def test_what_was_not_signed_with_the_secret_is_not_signed(address: str) -> None:
    assert signed_at(address, SECRET, MAY) is None
    assert signed_at(DOCUMENTED, SECRET + "=", MAY) is None


@given(
    key=st.text(
        st.characters(max_codepoint=0x2FF, exclude_categories=["Cc"], exclude_characters="/"), min_size=1
    ).filter(lambda text: text not in (".", "..")),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    endpoint=st.sampled_from([None, "http://127.0.0.1:9", "https://store.example:443", "https://store.example/at"]),
    is_virtual=st.booleans(),
)
def test_an_address_of_the_library_is_understood(
    key: str, token: str | None, endpoint: str | None, is_virtual: bool
) -> None:
    given_too = {name: value for name, value in (("session_token", token), ("endpoint", endpoint)) if value}
    store = S3Store(
        "bucket",
        prefix="some/prefix",
        access_key_id="key/with+signs",
        secret_access_key=SECRET,
        region="eu-central-1",
        virtual_hosted_style_request=is_virtual,
        client_options={"allow_http": True},
        **given_too,  # type: ignore[arg-type]
    )
    address = obstore.sign(store, "GET", f"files/{key}", timedelta(seconds=60))
    (date,) = parse_qs(urlsplit(address).query)["X-Amz-Date"]
    moment = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    again = signed_at(address, SECRET, moment)
    assert again is not None and again.partition("?")[0] == address.partition("?")[0]
    # A query has two ways to write a star.
    assert parse_qs(urlsplit(again).query) == parse_qs(urlsplit(address).query)
    then = signed_at(address, SECRET, MAY)
    assert then is not None and signed_at(then, SECRET, moment) == again


def test_credentials_that_are_not_the_environment_s_stay_the_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    objects = ObjectStoreClient("s3://bucket")
    (then,) = parse_qs(urlsplit(objects.sign("key", 60, MAY)).query)["X-Amz-Date"]
    assert then == "20130524T000000Z"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another one, as a role would give")
    (now,) = parse_qs(urlsplit(objects.sign("key", 60, MAY)).query)["X-Amz-Date"]
    assert abs(calendar.timegm(time.strptime(now, "%Y%m%dT%H%M%SZ")) - time.time()) < 60
