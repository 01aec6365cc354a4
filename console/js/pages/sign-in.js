// Signing in: with the issuer, with a key or token that is pasted, or by a one-time link. What is pasted goes to the service and is kept nowhere here.
import { html, useEffect, useState } from '../view.js';
import { notifyOtherTabs, post, useRetry } from '../api.js';
import { BASE, go } from '../router.js';
import { t } from '../texts.js';

const { issuer, version } = document.documentElement.dataset;

/** Where the user wanted to go: a page of this console and nothing else. */
function wanted() {
  const to = new URLSearchParams(location.search).get('return') ?? '';
  return /^\/console\/(?!sign-in)[^\\]*$/.test(to) ? to : BASE;
}

export default function SignIn({ port, onDone, signedIn }) {
  const [kind, setKind] = useState('apiKey');
  const [text, setText] = useState('');
  const [problem, setProblem] = useState();
  const [busy, setBusy] = useState(false);
  // A link that would take the place of whoever is signed in.
  const [replacing, setReplacing] = useState();

  // The link that is being followed: where the service is busy, it is good still.
  const [followed, setFollowed] = useState();

  const enter = async body => {
    setBusy(true);
    setFollowed(body.link);
    setProblem(undefined);
    setReplacing(undefined);
    try {
      await post('/console/sign-in', body);
      setText('');
      notifyOtherTabs();
      // The address that the user came for stays; only the page of signing in itself is left.
      if (location.pathname === `${BASE}sign-in`) go(wanted(), { replace: true });
      onDone();
    } catch (found) {
      setProblem(found);
      setBusy(false);
    }
  };
  useEffect(() => {
    const follow = () => {
      const link = new URLSearchParams(location.hash.slice(1)).get('link');
      if (!link) return;
      // A link works once: it does not stay in the history.
      history.replaceState(null, '', location.pathname + location.search);
      // Anybody can have a browser open a link: whoever is signed in does not become somebody else unawares.
      if (signedIn) setReplacing(link);
      else enter({ link });
    };
    follow();
    // A link that is pasted where this page is open already loads nothing.
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, [signedIn]);
  useRetry(followed && problem, () => enter({ link: followed }));
  const submit = event => {
    event.preventDefault();
    if (text.trim() && !busy) enter({ [kind]: text.trim() });
  };
  const back = location.pathname === `${BASE}sign-in` ? wanted() : location.pathname + location.search;
  const failed = t.signIn.issuerFailed[new URLSearchParams(location.search).get('failed')];
  return html`
    <main class="alone sign-in" id="main">
      <h1>${t.signIn.title(port)}</h1>
      <p class="quiet">${t.signIn.intro(port)}</p>
      ${
        replacing &&
        html`<div class="notice warn" role="alert"><b>${t.signIn.replaces}</b><span>${t.signIn.replacesHint}</span>
        <button type="button" class="small" id="replace" onClick=${() => enter({ link: replacing })}>${t.signIn.replace}</button></div>`
      }
      ${signedIn && html`<p><a href=${BASE}>${t.signIn.already}</a></p>`}
      ${failed && !problem && html`<div class="notice bad" role="alert"><b>${t.signIn.notIn}</b><span>${failed}</span></div>`}
      ${problem && html`<div class="notice bad" role="alert"><b>${t.signIn.failed(problem)}</b>
        <span>${problem.isAway ? t.state.failure(problem)[1] : problem.message} ${followed && problem.isAway && t.signIn.goodStill}</span>
        </div>`}
      ${issuer && html`<p><a class="button primary wide" href=${`${BASE}sign-in/issuer?return=${encodeURIComponent(back)}`}
        target="_self">${t.signIn.with(issuer)}</a></p><p class="or"><span>${t.signIn.or}</span></p>`}
      <form onSubmit=${submit} autocomplete="off">
        <fieldset class="radios"><legend>${t.signIn.kind}</legend>
          ${(port === 'api' ? ['apiKey', 'token'] : ['token']).map(one => html`<label class="check">
            <input type="radio" name="kind" checked=${(port === 'api' ? kind : 'token') === one}
              onChange=${() => setKind(one)} /> ${t.signIn.kinds[one]}</label>`)}
        </fieldset>
        <label class="field"><span>${t.signIn.kinds[port === 'api' ? kind : 'token']}</span>
          <input type="password" class="code" required autocomplete="off" spellcheck=${false} value=${text}
            aria-invalid=${!!problem} onInput=${event => {
            setText(event.target.value);
            if (port !== 'api') setKind('token');
          }} /></label>
        <div class="buttons"><button class="primary" aria-disabled=${busy}>${busy ? t.signIn.busy : t.signIn.enter}</button></div>
      </form>
      <details class="help"><summary>${t.signIn.help}</summary><p>${t.signIn.helpKey}</p><p>${t.signIn.helpLink}</p>
        <pre class="payload" tabindex="0">${t.signIn.command(port)}</pre></details>
      <p class="quiet">${t.version} ${version}</p>
    </main>`;
}
