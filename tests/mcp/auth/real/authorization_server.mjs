// The authorization server of the tests: `oidc-provider` with its own login and consent pages.
//
//   node authorization_server.mjs PORT LIFE [dpop]
//
// LIFE is the seconds that an access token lives. With `dpop` tokens are bound to keys, and proofs
// need its nonces. Refresh tokens are rotated: one that is used twice revokes the whole grant.
// Beside the provider's own places there are, for the tests:
//
//   GET  /test/told    everything that happened, oldest first
//   POST /test/revoke  takes back every grant, as a person does on a page of their account

import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const packages = createRequire(new URL('../../../node/package.json', import.meta.url));
const { Provider } = await import(pathToFileURL(packages.resolve('oidc-provider')));

const [port, life, ...kinds] = process.argv.slice(2);
const dpop = kinds.includes('dpop');
const issuer = `http://127.0.0.1:${port}`;
const scopes = ['mcp:read', 'mcp:write'];
// A client that is named by the address of what it says of itself; nothing of it is fetched.
const document = {
  application_type: 'native',
  client_id: 'https://client.example/patina.json',
  client_name: 'Patina',
  grant_types: ['authorization_code', 'refresh_token'],
  redirect_uris: ['http://127.0.0.1/oauth/callback'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
};
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

const provider = new Provider(issuer, {
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'] },
  clients: [
    {
      client_id: 'machine',
      client_secret: 'secret-of-the-machine',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope: scopes.join(' '),
    },
  ],
  cookies: { keys: [randomBytes(16).toString('hex')] },
  features: {
    clientCredentials: { enabled: true },
    clientIdMetadataDocument: {
      enabled: true,
      ack: 'draft-02',
      allowClient: () => true,
      allowFetch: () => true,
    },
    devInteractions: { enabled: true },
    dPoP: dpop
      ? { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true }
      : { enabled: false },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        accessTokenFormat: 'jwt',
        accessTokenTTL: Number(life),
        audience: resource,
        jwt: { sign: { alg: 'RS256' } },
        scope: scopes.join(' '),
      }),
      useGrantedResource: () => true,
    },
    revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
  },
  fetch: async (url) =>
    String(url) === document.client_id ? Response.json(document) : new Response('', { status: 404 }),
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, preferred_username: id }),
  }),
  issueRefreshToken: () => true,
  jwks: { keys: [{ ...key.export({ format: 'jwk' }), alg: 'RS256', kid: 'test', use: 'sig' }] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', ...scopes],
  ttl: { ClientCredentials: () => Number(life) },
});

const told = [];
const grants = new Set();
const tell = (what, ctx, more = {}) =>
  told.push({ what, client: ctx?.oidc?.client?.clientId ?? '', ...more });

provider.on('interaction.started', (ctx, prompt) => tell('prompt', ctx, { prompt: prompt.name }));
provider.on('authorization.success', (ctx) => tell('authorized', ctx));
provider.on('registration_create.success', (ctx, client) =>
  tell('registered', undefined, { client: client.clientId }));
provider.on('registration_delete.success', (ctx) => tell('unregistered', ctx));
provider.on('grant.success', (ctx) => {
  if (ctx.oidc.entities.Grant) grants.add(ctx.oidc.entities.Grant.jti);
  tell('tokens', ctx, { grant: ctx.oidc.params.grant_type, scope: ctx.body.scope ?? '' });
});
provider.on('grant.error', (ctx, error) =>
  tell('refused', ctx, { error: error.error, detail: error.error_detail ?? '' }));
provider.on('grant.revoked', (ctx) => tell('revoked', ctx));
provider.on('server_error', (ctx, error) => tell('broken', ctx, { error: String(error.stack) }));
for (const event of ['authorization.error', 'registration_create.error', 'revocation.error']) {
  provider.on(event, (ctx, error) =>
    tell('refused', ctx, { error: error.error, detail: error.error_detail ?? error.message }));
}

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.url === '/test/told') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(told));
  } else if (request.url === '/test/revoke' && request.method === 'POST') {
    for (const grant of grants) await (await provider.Grant.find(grant))?.destroy();
    grants.clear();
    response.end('{}');
  } else {
    if (request.url.startsWith('/token/revocation')) tell('revocation asked', undefined);
    answer(request, response);
  }
}).listen(Number(port), '127.0.0.1');
