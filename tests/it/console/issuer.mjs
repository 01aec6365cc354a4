// An issuer that is not ours (oidc-provider, certified by the OpenID Foundation): node issuer.mjs MODULES PORT OPTIONS
// OPTIONS is JSON: `client`, with client_id, client_secret and redirect_uris; `people`, the claims of each by the name that is typed there.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, port, options] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(createRequire(`${modules}/`).resolve('oidc-provider')));
const { client, people } = JSON.parse(options);

const issuer = new Provider(`http://127.0.0.1:${port}`, {
    clients: [client],
    claims: { openid: ['sub', 'org_ids', 'roles'] },
    // They are in the ID token, as most issuers have it.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...people[sub], sub }) }),
    // Nobody is asked whether the console may know who signs in.
    loadExistingGrant: async ({ oidc: { provider, client: { clientId }, session: { accountId } } }) => {
        const grant = new provider.Grant({ clientId, accountId });
        grant.addOIDCScope('openid');
        await grant.save();
        return grant;
    },
});
issuer.listen(Number(port), '127.0.0.1');
