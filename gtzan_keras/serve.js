async recording => {  // Called with each one. It is played from the browser's memory: the server deletes its copy.
  const audio = document.querySelector("#player audio"), result = document.querySelector("#result");
  const plays = yes => { audio.hidden = !yes; document.body.classList.toggle("silent", !yes); };
  const place = ({ dataset }, share) => +dataset.left + share * (dataset.right - dataset.left);

  audio.onerror = () => plays(false);
  audio.ontimeupdate = () => {
    for (const figure of result.querySelectorAll(".over-time")) {
      const share = audio.currentTime / figure.dataset.duration;
      figure.querySelector(".now").style.left = `${100 * place(figure, share)}%`;
    }
  };
  result.onclick = ({ target, clientX }) => {
    const part = target.closest("[data-start]"), figure = target.closest(".over-time");
    if (audio.hidden || !(part || figure)) return;
    let seconds = +part?.dataset.start;
    if (figure) {
      const box = figure.getBoundingClientRect(), left = place(figure, 0), right = place(figure, 1);
      seconds = ((clientX - box.left) / box.width - left) / (right - left) * figure.dataset.duration;
      if (seconds < 0 || seconds > figure.dataset.duration) return;
    }
    audio.currentTime = seconds;
    audio.play();
  };

  URL.revokeObjectURL(audio.src);
  try {
    audio.src = URL.createObjectURL(await (await fetch(recording.url)).blob());
    plays(true);
  } catch {
    plays(false);
  }
}
