// Digits falling behind the wizard, faintly. None for whoever asked their device for less motion.

const CELL = 22;
const STEP_MS = 90;
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

export function letItRain(canvas) {
  const pen = canvas.getContext("2d");
  let drops = [];
  let timer = 0;

  const resize = () => {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const rows = Math.ceil(canvas.clientHeight / CELL);
    const columns = Math.ceil(canvas.clientWidth / CELL);
    drops = Array.from({ length: columns }, () => Math.floor(Math.random() * (rows + 20)) - 20);
  };

  const step = () => {
    const height = canvas.clientHeight;
    pen.globalCompositeOperation = "destination-out"; // fade what is there, whatever the page's colour
    pen.fillStyle = "rgb(0 0 0 / 0.14)";
    pen.fillRect(0, 0, canvas.clientWidth, height);
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = getComputedStyle(canvas).color;
    pen.font = "15px ui-monospace, monospace";
    drops = drops.map((row, column) => {
      pen.fillText(String(Math.floor(Math.random() * 10)), column * CELL, row * CELL);
      return row * CELL > height && Math.random() > 0.96 ? 0 : row + 1;
    });
  };

  const decide = () => {
    clearInterval(timer);
    if (still.matches) pen.clearRect(0, 0, canvas.width, canvas.height);
    else if (!document.hidden) timer = setInterval(step, STEP_MS);
  };

  resize();
  decide();
  window.addEventListener("resize", resize);
  document.addEventListener("visibilitychange", decide);
  still.addEventListener("change", decide);
}
