// Reads a Zstandard file from its start to its end by a reader of JavaScript, and writes the content
// to stdout.
//
//     node streams.mjs READER FILE [FOLDER]
//
// FOLDER has the packages of npm that are no part of Node, each in a folder of its name.
//
// Exit status: 0 the reader found no fault, whatever it read; 1 it threw an error; 2 wrong usage;
// 77 this Node, or the folder, doesn't have the reader.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";

const MISSING = 77;

class Missing extends Error {}

function ofNode(name) {
  if (!zlib[name]) throw new Missing(`Node ${process.versions.node} has no zlib.${name}`);
  return zlib[name];
}

function ofFolder(name, folder) {
  try {
    return createRequire(import.meta.url)(path.resolve(folder ?? ".", name));
  } catch (error) {
    throw new Missing(`${name}: ${error.message}`);
  }
}

async function streamed(source) {
  const parts = [];
  await pipeline(source, ofNode("createZstdDecompress")(), async (content) => {
    for await (const part of content) parts.push(part);
  });
  return parts;
}

const READERS = {
  "zlib.zstdDecompressSync": async (file) => [ofNode("zstdDecompressSync")(fs.readFileSync(file))],

  "zlib.createZstdDecompress": (file) => streamed(fs.createReadStream(file)),

  // The first write ends two bytes before the second frame begins.
  "zlib.createZstdDecompress.cut": (file) => {
    const packed = fs.readFileSync(file);
    const second = packed.indexOf(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 1);
    const cut = second < 0 ? packed.length : second - 2;
    return streamed([packed.subarray(0, cut), packed.subarray(cut)]);
  },

  fetch: async (file) => {
    ofNode("createZstdDecompress");
    const server = http.createServer((_, response) => {
      response.writeHead(200, {
        "Content-Encoding": "zstd",
        "Content-Length": fs.statSync(file).size,
      });
      fs.createReadStream(file).pipe(response);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const response = await fetch(`http://127.0.0.1:${server.address().port}/`);
      return [new Uint8Array(await response.arrayBuffer())];
    } finally {
      server.close();
      server.closeAllConnections();
    }
  },

  "fzstd.decompress": async (file, folder) => [
    ofFolder("fzstd", folder).decompress(fs.readFileSync(file)),
  ],

  "fzstd.Decompress": async (file, folder) => {
    const parts = [];
    const stream = new (ofFolder("fzstd", folder).Decompress)((part) => parts.push(part));
    for await (const part of fs.createReadStream(file)) stream.push(part);
    stream.push(new Uint8Array(0), true);
    return parts;
  },
};

const [reader, file, folder] = process.argv.slice(2);
if (!Object.hasOwn(READERS, reader) || !file) {
  console.error("usage: streams.mjs READER FILE [FOLDER]");
  process.exit(2);
}
try {
  for (const part of await READERS[reader](file, folder)) {
    await new Promise((resolve) => process.stdout.write(part, resolve));
  }
} catch (error) {
  console.error(`${reader}: ${error.stack}`);
  process.exitCode = error instanceof Missing ? MISSING : 1;
}
