/** What lies under the weights of a matrix. */

/** Under the weights: the empty cells of a large matrix, hidden sinks, and where the generated text begins. */
export function paintGround(context, { state, scroller, unit, scheme }, slice, left, top, ratio) {
  const { length } = state;
  const [x, y] = [(key) => left + key * unit - scroller.scrollLeft, (query) => top + query * unit - scroller.scrollTop];
  context.save();
  context.globalCompositeOperation = "destination-over";
  context.beginPath();
  context.rect(left - 1, 0, context.canvas.width / ratio, context.canvas.height / ratio);
  context.clip();
  if (state.sinks !== "show") {
    context.fillStyle = scheme.ink;
    context.globalAlpha = 0.1;
    for (const key of slice.sunk) context.fillRect(x(key), y(key), Math.max(1, unit - (unit >= 5 ? 1 : 0)), (length - key) * unit);
    context.globalAlpha = 1;
  }
  context.fillStyle = scheme.soft;
  context.beginPath();
  if (unit >= 5) {
    for (let query = Math.max(0, Math.floor(-y(0) / unit)); query < length && y(query) < context.canvas.height / ratio; query += 1) {
      for (let key = Math.max(0, Math.floor((scroller.scrollLeft - 4) / unit)); key <= query; key += 1) context.rect(Math.round(x(key) * ratio) / ratio, Math.round(y(query) * ratio) / ratio, unit - 1, unit - 1);
    }
  } else {
    context.moveTo(x(0), y(0));
    context.lineTo(x(length), y(length));
    context.lineTo(x(0), y(length));
  }
  context.fill();
  context.restore();
}
