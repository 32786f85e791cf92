"use strict";

// The slider: what is to its right is the picture after.
for (const input of document.querySelectorAll(".compare input")) {
  const show = () => input.parentElement.style.setProperty("--at", input.value / 100);
  input.addEventListener("input", show);
  show();
}

// The palette: a color that is chosen stays, and a veil lies over the rest.
const canvas = document.querySelector("canvas[data-numbers]");
const told = document.getElementById("told");
const buttons = [...document.querySelectorAll(".swatches button")];
let numbers = null;

async function read() {
  const picture = new Image();
  picture.src = canvas.dataset.numbers;
  await picture.decode();
  const { width, height } = canvas;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const samples = context.getImageData(0, 0, width, height).data;
  const wide = canvas.dataset.wide === "yes";
  const found = new Uint16Array(width * height);
  for (let i = 0; i < found.length; i++) {
    found[i] = wide ? samples[4 * i] + 256 * samples[4 * i + 1] : samples[4 * i];
  }
  return found;
}

function luma(color) {
  const value = parseInt(color.slice(1), 16);
  return 0.2126 * (value >> 16) + 0.7152 * ((value >> 8) & 255) + 0.0722 * (value & 255);
}

async function choose(button) {
  for (const each of buttons) each.setAttribute("aria-pressed", each === button);
  canvas.hidden = !button;
  if (!button) {
    told.textContent = told.dataset.told;
    return;
  }
  numbers ??= await read();
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const number = Number(button.dataset.number);
  const veil = luma(button.dataset.color) < 110 ? 0xe8f4f4f4 : 0xe8141414;
  let found = 0;
  for (let i = 0; i < numbers.length; i++) {
    if (numbers[i] === number) found++;
    else pixels[i] = veil;
  }
  context.putImageData(picture, 0, 0);
  canvas.dataset.found = found;
  const share = button.querySelector(".share").textContent;
  told.textContent = `${button.dataset.color} has ${share} of the pixels` + (found ? "." : ", too few to be seen at this size.");
}

for (const button of buttons) {
  button.addEventListener("click", () => choose(button.getAttribute("aria-pressed") === "true" ? null : button));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && canvas) choose(null);
});
