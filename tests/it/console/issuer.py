"""An issuer that is not ours (oidc-provider-mock), which redeems a code only by the verifier of its challenge: python issuer.py PORT"""

import base64
import hashlib
import sys
from urllib.parse import parse_qs, urlsplit

import flask
import werkzeug.serving
from oidc_provider_mock import app

issuer = app(require_nonce=True)
challenges = {}


@issuer.after_request
def note_challenge(response):
    code = parse_qs(urlsplit(response.headers.get("Location", "")).query).get("code")
    if flask.request.path == "/oauth2/authorize" and code:
        assert flask.request.args["code_challenge_method"] == "S256"
        challenges[code[0]] = flask.request.args["code_challenge"]
    return response


@issuer.before_request
def check_verifier():
    if flask.request.path != "/oauth2/token":
        return None
    digest = hashlib.sha256(flask.request.form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if challenges.get(flask.request.form.get("code")) != challenge:
        return flask.jsonify({"error": "invalid_grant", "error_description": "code_verifier"}), 400
    return None


werkzeug.serving.make_server("127.0.0.1", int(sys.argv[1]), issuer, threaded=True).serve_forever()
