// An address of this server without the user and password that the page's own may have, which fetch refuses.
export const plain = (path) => new URL(path, `${location.origin}${location.pathname}`).href;

// Asks the API; a problem becomes an error with its detail.
export async function ask(path, method = 'GET', body) {
  const head = body === undefined ? {} : { 'Content-Type': 'application/json' };
  const answer = await fetch(plain(`api/v1/${path}`), { method, headers: head, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said?.detail ?? `${answer.status} ${answer.statusText}`), { status: answer.status });
  return said;
}
