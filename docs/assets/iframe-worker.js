// Browsers start no workers on file:// pages. There, the search runs in a hidden frame that answers like a worker.
// mkdocs.yml names this file among the polyfills, which are loaded before the search starts.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.frame = Object.assign(document.createElement("iframe"), { hidden: true });
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.document.write("<body></body>");
      inside.document.close();
      window.addEventListener("message", ({ source, data }) => {
        if (source === inside) this.dispatchEvent(new MessageEvent("message", { data }));
      });
      inside.postMessage = (data) => window.dispatchEvent(new MessageEvent("message", { source: inside, data }));
      inside.importScripts = (...urls) =>
        urls.reduce((earlier, url) => earlier.then(() => this.load(url)), Promise.resolve());
      this.ready = this.load(address);
    }

    load(address) {
      return new Promise((resolve, reject) => {
        const script = Object.assign(document.createElement("script"), { src: address, onload: resolve, onerror: reject });
        this.frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }))
      );
    }

    terminate() {
      this.frame.remove();
    }
  };
}
