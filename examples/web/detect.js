// Detect objects in a browser with a file of `darknet-py export ... --heads nms`, in ONNX Runtime Web.
//
// Images are resized as Darknet does it, so that the boxes are those of `darknet-py detect`. How they are resized and the
// names of the classes are in the file's metadata.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

/** A detector: `await Detector.load(url)`, then `await detector.detect(imageData)`. */
export class Detector {
  static async load(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    let metadata = {};
    try {
      metadata = readMetadata(bytes);
    } catch {} // not a protobuf message
    if (metadata.heads !== "nms") {
      throw new Error(`${url}: expected a file of darknet-py export --heads nms, found ${metadata.heads ?? "another file"}`);
    }
    return new Detector(await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }), metadata);
  }

  constructor(session, metadata) {
    this.session = session;
    this.names = JSON.parse(metadata.names);
    this.letterbox = metadata.resize === "letterbox";
    [this.channels, this.height, this.width] = JSON.parse(metadata.network).shape;
    if (this.channels !== 3) throw new Error(`expected a network for images of 3 channels, found ${this.channels}`);
  }

  /** Return objects {name, number, score, x1, y1, x2, y2}, in pixels of the image, by descending score. */
  async detect(image) {
    const { width, height } = this;
    const [innerWidth, innerHeight] = this.letterbox ? innerSize(image, width, height) : [width, height];
    const inner = resize(image, innerWidth, innerHeight);
    const values = this.letterbox ? pad(inner, innerWidth, innerHeight, width, height) : inner;
    const input = new ort.Tensor("float32", values, [1, 3, height, width]);
    const { detections } = await this.session.run({ input });
    const xScale = width / innerWidth, yScale = height / innerHeight;
    const found = [];
    for (let at = 0; at < detections.data.length; at += 7) {
      const [, number, score, x, y, w, h] = detections.data.subarray(at, at + 7);
      const left = ((x - w / 2 - 0.5) * xScale + 0.5) * image.width, right = ((x + w / 2 - 0.5) * xScale + 0.5) * image.width;
      const top = ((y - h / 2 - 0.5) * yScale + 0.5) * image.height, bottom = ((y + h / 2 - 0.5) * yScale + 0.5) * image.height;
      found.push({ name: this.names[number] ?? String(number), number, score, x1: left, y1: top, x2: right, y2: bottom });
    }
    return found.sort((a, b) => b.score - a.score);
  }
}

/** The size of an image inside a letterbox. */
function innerSize(image, width, height) {
  return width / image.width < height / image.height
    ? [width, Math.floor((image.height * width) / image.width)]
    : [Math.floor((image.width * height) / image.height), height];
}

/** Planes centred on grey. */
function pad(planes, innerWidth, innerHeight, width, height) {
  const result = new Float32Array(3 * width * height).fill(0.5);
  const left = Math.floor((width - innerWidth) / 2), top = Math.floor((height - innerHeight) / 2);
  for (let plane = 0; plane < 3; plane++) {
    for (let y = 0; y < innerHeight; y++) {
      const start = (plane * innerHeight + y) * innerWidth;
      result.set(planes.subarray(start, start + innerWidth), (plane * height + top + y) * width + left);
    }
  }
  return result;
}

/** Resize an ImageData to planes [3, height, width], RGB in 0..1: bilinear with aligned corners, as in Darknet. */
export function resize(image, width, height) {
  const { data, width: columns, height: rows } = image;
  const result = new Float32Array(3 * width * height);
  const xs = neighbours(columns, width), ys = neighbours(rows, height);
  const pixel = (x, y, plane) => data[4 * (y * columns + x) + plane] / 255;
  const between = (x, y, plane) =>
    x === width - 1
      ? pixel(columns - 1, y, plane)
      : (1 - xs[x].weight) * pixel(xs[x].low, y, plane) + xs[x].weight * pixel(Math.min(xs[x].low + 1, columns - 1), y, plane);
  for (let plane = 0; plane < 3; plane++) {
    for (let y = 0; y < height; y++) {
      const { low, weight } = ys[y];
      for (let x = 0; x < width; x++) {
        // Darknet adds no row below the last one, which is dark where its position rounds down.
        const lower = y === height - 1 || rows === 1 ? 0 : weight * between(x, low + 1, plane);
        result[(plane * height + y) * width + x] = (1 - weight) * between(x, low, plane) + lower;
      }
    }
  }
  if (columns === width && rows === height) {
    for (let plane = 0; plane < 3; plane++) {
      for (let i = 0; i < width * height; i++) result[plane * width * height + i] = data[4 * i + plane] / 255;
    }
  }
  return result;
}

/** For each of `count` samples of `size` values: the index before its position, and the weight of the next one. */
function neighbours(size, count) {
  const scale = Math.fround((size - 1) / (count - 1)); // in single precision, as in Darknet
  return Array.from({ length: count }, (_, i) => {
    const position = count === 1 ? size - 1 : Math.fround(i * scale);
    return { low: Math.floor(position), weight: Math.fround(position - Math.floor(position)) };
  });
}

/** The entries of ModelProto.metadata_props: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. */
export function readMetadata(bytes) {
  const entries = {}, decoder = new TextDecoder();
  for (const [number, value] of fields(bytes)) {
    if (number !== 14) continue;
    const entry = Object.fromEntries([...fields(value)].map(([each, text]) => [each, decoder.decode(text)]));
    entries[entry[1]] = entry[2] ?? "";
  }
  return entries;
}

/** The fields of a protobuf message: pairs of number and value. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint(), number = Math.floor(key / 8), kind = key % 8;
    if (kind === 0) yield [number, varint()];
    else if (kind === 2) {
      const length = varint();
      yield [number, bytes.subarray(at, (at += length))];
    } else at += kind === 1 ? 8 : 4;
  }
}
