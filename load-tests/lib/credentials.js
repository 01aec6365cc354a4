// Bearer tokens: TOKEN for everything where it is given, otherwise tokens with just the rights that are needed, signed with SECRET.
import crypto from "k6/crypto";
import encoding from "k6/encoding";

const { SECRET, TOKEN, ISSUER, AUDIENCE } = __ENV;
const DAY_SECONDS = 86400;

function sign(subject, roles, orgs) {
    const encode = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
    const exp = Math.floor(Date.now() / 1000) + 2 * DAY_SECONDS;
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: subject, exp, org_ids: orgs, roles };
    const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
    return `${signed}.${crypto.hmac("sha256", SECRET, signed, "base64rawurl")}`;
}

// Each is signed once.
const tokens = new Map();

export function token(subject, roles, orgs) {
    if (TOKEN) return TOKEN;
    if (!tokens.has(subject)) tokens.set(subject, sign(subject, roles, orgs));
    return tokens.get(subject);
}

export function viewer(org) {
    return token(`load-viewer-${org}`, ["org_viewer"], [org]);
}
