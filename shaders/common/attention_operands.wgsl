// What the kernels of attention read and write, and what a score becomes. See attention.wgsl for the meaning. How many channels of
// qkv and values one load takes is the kernel's affair: `attention_fours`, `attention_eights`.
struct Params {
    head4: u32,      // dh / 4
    width4: u32,     // C / 4
    scale: f32,
    causal: u32,
    a_query: u32,    // 0 query, 1 key, 2 value, 3 unit value: what plays P and Q in path A
    a_key: u32,
    b_query: u32,
    b_key: u32,
    rows: u32,       // T
    paths: u32,      // 1 or 2
    stride4: u32,    // row length of qkv / 4: 3 C / 4, or C with unit values
    value_at4: u32,      // first column of V in `values` / 4
    value_stride4: u32,  // row length of `values` / 4
    weight_a: f32,       // SUM
    weight_b: f32,
    based: u32,          // SUM: 1 adds `base`
    bias_rows: u32,      // BIAS: rows of it per sequence, 0 if all share one
    bias_stride4: u32,   // BIAS: its row length / 4
    cap: f32,            // CAP
}

override TRIE = 0u;   // 0 sequences, 1 a trie
override SUM = 0u;
override BIAS = 0u;
override CAP = 0u;

const MASKED = -1.0e30;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> base: array<Act4>;
@group(0) @binding(6) var<storage, read_write> out: array<Act4>;

// Scores of four neighbouring keys, key / 4 of them, from their dot products; bias_row is the query's.
fn scores_of(products: vec4<f32>, bias_row: u32, quad: u32) -> vec4<f32> {
    var s = products * params.scale;
    if (CAP != 0u) {
        // Some drivers' tanh is not a number beyond 44; at 15 it is 1 in f32.
        s = params.cap * tanh(clamp(s / params.cap, vec4<f32>(-15.0), vec4<f32>(15.0)));
    }
    if (BIAS != 0u) {
        // The second four of eight keys may lie behind the row; they are masked.
        s += bias[bias_row * params.bias_stride4 + min(quad, params.bias_stride4 - 1u)];
    }
    return s;
}

// The rows of four keys; those beyond the last are the last once more.
fn key_rows(start: u32, len: u32, list: u32, key: u32) -> vec4<u32> {
    if (TRIE != 0u) {
        return tiles[list + key / 2u];
    }
    return vec4<u32>(start) + min(vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(len - 1u));
}

// True for those of four keys that a query may not see: their rows and ends in a trie, else their places behind `place`.
fn hidden_from(query: u32, len: u32, place: u32, rows: vec4<u32>, ends: vec4<u32>) -> vec4<bool> {
    if (TRIE != 0u) {
        return (rows > vec4<u32>(query)) | (ends <= vec4<u32>(query));
    }
    return vec4<u32>(place) + vec4<u32>(0u, 1u, 2u, 3u) > vec4<u32>(last_key(query, len));
}

// The last key of its sequence that a query sees.
fn last_key(query: u32, len: u32) -> u32 {
    return select(len - 1u, min(query, len - 1u), params.causal != 0u);
}

fn store(first: u32, query: u32, len: u32, column: u32, v: vec4<f32>) {
    if (query < len && column < params.head4) {
        let at = first + query * params.width4 + column;
        if (SUM != 0u && params.based != 0u) {
            out[at] = narrow_act(widen_act(base[at]) + v);
        } else {
            out[at] = narrow_act(v);
        }
    }
}
