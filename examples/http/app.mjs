// Register an app's own device for the user who is signed in. Copy this file into the app: it needs
// only fetch and no AWS credentials.
//
//   import { MyDevice } from "./app.mjs";
//
//   const device = new MyDevice({ apiUrl, storage, jwt });
//   await device.register({ token, service: "GCM", language: "de", app_version: "7.1.0" });
//   await device.signOut();
//
// While a user is signed in, call register
// - after the sign-in,
// - at each start of the app: a device that is not registered again expires,
// - when the push service gives the app a new token (onNewToken, onTokenRefresh,
//   didRegisterForRemoteNotificationsWithDeviceToken).
//
// Call signOut before the app forgets the user's session, because it needs the JWT. If it fails,
// for example offline, delete the push token (Firebase: deleteToken): the registry removes a device
// when a push finds its token dead.
//
// React Native has no crypto.randomUUID; expo-crypto has one. A web page cannot call the API, which
// does not allow other origins (CORS).

const STORED_ID = "push-sender-device-id";
const ATTEMPTS = 4;
const TIMEOUT_MS = 35_000; // API Gateway answers within 30 s
const TEMPORARY = [429, 500, 503];
const OPTIONAL = ["language", "time_zone"];
const IS_GONE = "urn:push-sender:problem:device-not-found";

export class MyDevice {
  #last = Promise.resolve();

  /**
   * @param apiUrl The stack's output ApiUrl.
   * @param storage Keeps the device's id: getItem and setItem, as of AsyncStorage or localStorage.
   *   Exclude it from backups: a second phone with the same id would replace the first one.
   * @param jwt Returns the user's token (JWT). `{ renew: true }` asks for a new one, because the API
   *   has refused the one before.
   */
  constructor({ apiUrl, storage, jwt }) {
    Object.assign(this, { apiUrl, storage, jwt });
  }

  /** Register the device, or change its registration; returns the device. */
  register(registration) {
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    return this.#inOrder(() => this.#put({ time_zone: timeZone, ...registration }));
  }

  /** Delete the device: no more pushes for this user. */
  signOut() {
    return this.#inOrder(() => this.#call("DELETE"));
  }

  // One call after the other, so that an older token does not arrive after a newer one.
  #inOrder(call) {
    const result = this.#last.then(call);
    this.#last = result.catch(() => {});
    return result;
  }

  // The token matters more than a language or a time zone that the registry does not know.
  async #put(registration) {
    return this.#call("PUT", registration).catch((error) => {
      const refused = (error.cause?.faults ?? []).map(({ path }) => path);
      if (!refused.some((path) => OPTIONAL.includes(path))) throw error;
      const kept = { ...registration };
      for (const name of OPTIONAL) if (refused.includes(name)) delete kept[name];
      return this.#call("PUT", kept);
    });
  }

  // A call can be repeated without harm.
  async #call(method, body) {
    let renew = false;
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === ATTEMPTS;
      const answer = await this.#send(method, body, renew).catch((error) => {
        if (isLast) throw error; // no connection
      });
      if (answer?.status === 204) return undefined;
      if (answer?.ok) return answer.json();
      if (answer) {
        const problem = await answer.json().catch(() => ({}));
        if (method === "DELETE" && problem.type === IS_GONE) return undefined;
        const isRefused = answer.status === 401 && !renew;
        if (isLast || !(isRefused || TEMPORARY.includes(answer.status))) {
          const reason = problem.title ?? problem.message;
          throw new Error(`HTTP ${answer.status}: ${reason}`, { cause: problem });
        }
        renew = answer.status === 401;
        if (renew) continue;
      }
      // Random, so that many phones do not come back at the same time.
      const seconds = Math.random() * 2 ** attempt;
      const atLeast = Number(answer?.headers.get("Retry-After") ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 1_000 * Math.max(seconds, atLeast)));
    }
  }

  async #send(method, body, renew) {
    const url = `${this.apiUrl.replace(/\/$/, "")}/my/devices/${await this.#id()}`;
    const authorization = `Bearer ${await this.jwt({ renew })}`;
    const timeout = new AbortController(); // React Native has no AbortSignal.timeout
    const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
    return fetch(url, {
      method,
      headers: { Authorization: authorization, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
      signal: timeout.signal,
    }).finally(() => clearTimeout(timer));
  }

  // The id is kept after a sign-out: if that has failed, the next user's registration still takes
  // the device from the user before.
  async #id() {
    let id = await this.storage.getItem(STORED_ID);
    if (id === null) {
      // Random, because anyone who knows it can take the device over.
      id = crypto.randomUUID();
      await this.storage.setItem(STORED_ID, id);
    }
    return id;
  }
}
