/**
 * A Chromium without a window, driven by its DevTools protocol: pages with what
 * they log, their scripts' results, and pictures of them.
 *
 * @module
 */
import { owned } from "./owned.ts";
import { spawn } from "./processes.ts";

/** How a page is shown. */
export interface View {
  /** Size, in CSS pixels. */
  readonly width: number;
  readonly height: number;
  /** Whether the reader's system is dark. */
  readonly dark?: boolean;
  /** Whether scripts run. */
  readonly scripts?: boolean;
}

/** A browser that runs. */
export interface Browser extends AsyncDisposable {
  /** Opens `url` in a tab of its own; resolves once it is loaded. */
  open(url: string, view: View): Promise<BrowserPage>;
}

/** A page in a tab. */
export interface BrowserPage {
  /** What went wrong in it so far: errors of scripts, of the console, and what was not let in. */
  readonly errors: readonly string[];
  /** The value of an expression in it; waits for a promise. */
  evaluate(expression: string): Promise<unknown>;
  /** Moves the pointer there. */
  point(x: number, y: number): Promise<void>;
  /** Resolves when the expression is true, which it is asked after each change of the page. */
  until(expression: string): Promise<void>;
  /** A picture as PNG: of all of it, or of what is in view. */
  picture(whole?: boolean): Promise<Uint8Array>;
}

/** Starts the Chromium at `path`, with a folder for its files. */
export async function startChromium(
  path: string,
  folder: string,
): Promise<Browser> {
  await using cleanup = new AsyncDisposableStack();
  const process = cleanup.use(spawn(path, {
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update"],
      ...["--remote-debugging-port=0", `--user-data-dir=${folder}`],
    ],
    env: { HOME: folder },
  }));
  const line = await process.waitForLine((line) =>
    line.includes("DevTools listening on ")
  );
  const url = line.slice(line.indexOf("ws://")).trim();
  const devTools = cleanup.use(await DevTools.connect(url));
  return owned(cleanup, {
    open: (url: string, view: View) => openPage(devTools, url, view),
  });
}

async function openPage(
  devTools: DevTools,
  url: string,
  { width, height, dark = false, scripts = true }: View,
): Promise<BrowserPage> {
  const { targetId } = await devTools.ask("Target.createTarget", {
    url: "about:blank",
  });
  const { sessionId } = await devTools.ask("Target.attachToTarget", {
    ...{ targetId, flatten: true },
  });
  const session = String(sessionId);
  const ask = (method: string, params: Params = {}): Promise<Params> =>
    devTools.ask(method, params, session);
  const errors: string[] = [];
  const loaded = Promise.withResolvers<void>();
  devTools.listen(session, (method, params) => {
    if (method === "Page.loadEventFired") loaded.resolve();
    if (method === "Runtime.exceptionThrown") {
      errors.push(JSON.stringify(params.exceptionDetails));
    }
    if (method === "Log.entryAdded") errors.push(JSON.stringify(params.entry));
    if (method === "Runtime.consoleAPICalled") {
      errors.push(JSON.stringify(params));
    }
  });
  await ask("Page.enable");
  await ask("Runtime.enable");
  await ask("Log.enable");
  await ask("Emulation.setDeviceMetricsOverride", {
    ...{ width, height, deviceScaleFactor: 1, mobile: width < 600 },
  });
  await ask("Emulation.setEmulatedMedia", {
    features: [{
      name: "prefers-color-scheme",
      value: dark ? "dark" : "light",
    }],
  });
  if (!scripts) {
    await ask("Emulation.setScriptExecutionDisabled", { value: true });
  }
  await ask("Page.navigate", { url });
  await loaded.promise;
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await ask("Runtime.evaluate", {
      ...{ expression, awaitPromise: true, returnByValue: true },
    });
    if (exceptionDetails !== undefined) {
      throw new Error(JSON.stringify(exceptionDetails));
    }
    return (result as Params).value;
  };
  return {
    errors,
    evaluate,
    async point(x: number, y: number): Promise<void> {
      await ask("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
    },
    async until(expression: string): Promise<void> {
      await evaluate(`new Promise((resolve) => {
        const look = () => {
          if (!(${expression})) return false;
          observer.disconnect();
          resolve();
          return true;
        };
        const observer = new MutationObserver(look);
        observer.observe(document, {
          subtree: true, childList: true, characterData: true, attributes: true,
        });
        look();
      })`);
    },
    async picture(whole: boolean = true): Promise<Uint8Array> {
      const { data } = await ask("Page.captureScreenshot", {
        captureBeyondViewport: whole,
      });
      return Uint8Array.fromBase64(String(data));
    },
  };
}

type Params = Readonly<Record<string, unknown>>;

/** What comes from the browser. */
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

/** The connection to a browser. */
class DevTools implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #asked = new Map<number, PromiseWithResolvers<Params>>();
  readonly #listeners = new Map<
    string,
    (method: string, params: Params) => void
  >();
  readonly #closed = Promise.withResolvers<void>();
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.#take(JSON.parse(String(data)));
    });
    socket.addEventListener("close", () => {
      for (const { reject } of this.#asked.values()) {
        reject(new Error("The browser has gone"));
      }
      this.#closed.resolve();
    });
  }

  static async connect(url: string): Promise<DevTools> {
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener("open", () => resolve(), { once: true });
      socket.addEventListener(
        "error",
        () => reject(new Error("The browser does not answer")),
        { once: true },
      );
    });
    return new DevTools(socket);
  }

  async ask(
    method: string,
    params: Params,
    sessionId?: string,
  ): Promise<Params> {
    const id = ++this.#last;
    const answer = Promise.withResolvers<Params>();
    this.#asked.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return await answer.promise;
  }

  listen(
    session: string,
    listener: (method: string, params: Params) => void,
  ): void {
    this.#listeners.set(session, listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#closed.promise;
  }

  #take({ id, sessionId, method, params, result, error }: Message): void {
    if (id === undefined) {
      this.#listeners.get(sessionId ?? "")?.(method ?? "", params ?? {});
      return;
    }
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    if (error !== undefined) answer?.reject(new Error(error.message));
    else answer?.resolve(result ?? {});
  }
}
