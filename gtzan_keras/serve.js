() => {  // The recording is played from the browser's memory: the server deletes its copy after the answer.
  const audio = () => document.querySelector("#player audio");

  window.playable = async song => {
    URL.revokeObjectURL(audio().src);
    audio().src = URL.createObjectURL(await (await fetch(song.url)).blob());
    const plays = yes => { audio().hidden = !yes; document.body.classList.toggle("silent", !yes); };
    audio().onerror = () => plays(false);
    plays(true);
    audio().ontimeupdate = () => {
      for (const figure of document.querySelectorAll(".over-time")) {
        const { left, right, duration } = figure.dataset;
        const share = +left + (right - left) * audio().currentTime / duration;
        figure.querySelector(".now").style.left = `${100 * share}%`;
      }
    };
  };

  document.addEventListener("click", event => {
    const part = event.target.closest("[data-start]"), figure = event.target.closest(".over-time");
    if (!part && !figure) return;
    let seconds = +part?.dataset.start;
    if (figure) {
      const { left, right, duration } = figure.dataset, box = figure.getBoundingClientRect();
      seconds = ((event.clientX - box.left) / box.width - left) / (right - left) * duration;
      if (seconds < 0 || seconds > duration) return;
    }
    audio().currentTime = seconds;
    audio().play();
  });
}
