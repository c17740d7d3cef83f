"""States in Chromium: a model's default state, and moving states between slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from golden.tuned_states import load_tuned
from make_pth import save
from playwright.sync_api import Page


def test_a_model_with_a_default_state(page: Page, site: Path, site_url: str) -> None:
    """Sessions start with it, and answers come out as the `rwkv` package computes them from there."""
    case = load_tuned("6")
    (site / "tuned.pth").write_bytes(save(case.weights | case.trained))
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    logits = page.evaluate(
        """async ([url, tokens]) => {
            await rwkv.load(url, { quantization: "f32" });
            return [await rwkv.logits(tokens), await rwkv.logits(tokens)].map((l) => Array.from(l));
        }""",
        [site_url + "tuned.pth", case.tokens],
    )
    assert np.abs(np.array(logits[0]) - case.logits[-1]).max() < 1e-4
    assert logits[0] == logits[1]


def test_slots(page: Page, site_url: str) -> None:
    """The executor writes, copies, clears and reads spans of state buffers."""
    page.goto(site_url)
    found = page.evaluate(
        """async () => {
            const { Gpu } = await import("./engine/gpu.js");
            const gpu = await Gpu.create();
            const buffers = [["a", 24], ["b", 12]].map(([name, bytes]) => ({ name, bytes, texel: 0, held: "buffers", role: "state", words: [] }));
            await gpu.allocate([{ name: "p", pipelines: [], buffers, calls: [], blocks: [], stepBytes: 16 }]);
            gpu.write("a", 0, new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
            gpu.write("b", 0, new Uint8Array([9, 9, 9, 9]));
            gpu.copy([["a", 0, 16, 8], ["b", 0, 4, 4]]);
            gpu.clear([["a", 0, 4]]);
            const out = await gpu.read([["b", 4, 8], ["a", 0, 24]]);
            gpu.close();
            return Array.from(out);
        }"""
    )
    assert found == [9, 9, 9, 9, 0, 0, 0, 0, *[0] * 4, 5, 6, 7, 8, *[0] * 8, 1, 2, 3, 4, 5, 6, 7, 8]


def test_bytes_of_a_shard_lie_in_a_texture_as_in_a_buffer_and_an_index_is_checked(page: Page, site_url: str) -> None:
    """Spans that begin and end anywhere, as shards are cut: whole rows, parts of rows, one texel over a row's end."""
    page.goto(site_url)
    found = page.evaluate(
        """async () => {
            const { device } = await (await import("./engine/gpu.js")).Gpu.create();
            const { write } = await import("./engine/textures.js");
            const row = 16384;
            const out = [];
            for (const [texel, format] of [[4, "r32uint"], [8, "rg32uint"], [16, "rgba32uint"]]) {
                const size = [row / texel, 6];
                const usage = GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC | GPUTextureUsage.TEXTURE_BINDING;
                const texture = device.createTexture({ size, format, usage });
                const expected = new Uint8Array(6 * row);
                for (const [at, bytes] of [[0, texel], [row - texel, 2 * texel], [row + texel, 2 * row], [4 * row, row], [5 * row + texel, row - texel]]) {
                    const data = crypto.getRandomValues(new Uint8Array(bytes));
                    expected.set(data, at);
                    write(device.queue, texture, at, data);
                }
                const buffer = device.createBuffer({ size: 6 * row, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
                const encoder = device.createCommandEncoder();
                encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow: row }, size);
                device.queue.submit([encoder.finish()]);
                await buffer.mapAsync(GPUMapMode.READ);
                out.push(new Uint8Array(buffer.getMappedRange()).every((byte, i) => byte === expected[i]));
            }
            const { Buffers } = await import("./engine/buffers.js");
            const buffers = new Buffers(device);
            buffers.hold([{ name: "m.rows", bytes: 16, texel: 0, held: "buffers", role: "weight", words: [] }]);
            const taken = { at: 4, nbytes: 12, buffer: "m.rows", to: 0, keep: "", index: "", item: 2, first: 0, rows: 0, row_bytes: 0 };
            for (const below of [70, 60])
                try {
                    buffers.take(new Uint16Array([99, 99, 1, 2, 3, 69, 5, 0]).buffer, { ...taken, below });
                    out.push("taken");
                } catch (e) {
                    out.push(e.code);
                }
            device.destroy();
            return out;
        }"""
    )
    assert found == [True, True, True, "taken", "bad-manifest"]  # the last: an index of rows, one of which is not stored
