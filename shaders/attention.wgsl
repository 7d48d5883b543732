// Softmax attention over packed sequences, one or two paths from one reading of the values.
//
// qkv [T, 3 C], head a owns channels a dh .. (a+1) dh of each of q, k and v; sequences are row ranges of it.
// Path A: softmax(scale P Q^T) V with P, Q any of q, k, v (ordinary attention: q, k). With PATHS = 2 path B does
// the same with its own pair (CLIP Surgery: v, v) on the same V. -> out [PATHS T, C], path B below path A.
//
// A workgroup of 64 threads owns 16 query rows of one head. It walks over 64 keys at a time:
//   1. scores: each thread 4 queries x 4 keys, in registers, then to workgroup memory;
//   2. streaming softmax: 4 threads a row, running maximum and sum, earlier output rescaled by alpha;
//   3. values: each thread 4 rows x 4 channels (two such tiles if dh > 64), V loaded once for both paths.
// dh up to 128, a multiple of 4. Workgroup memory: 2 x (4 KiB scores + 64 + 256 bytes).
// `tiles` lists the work: (first row of the sequence, its length, first query of this tile, unused), so that
// ragged batches waste nothing and no workgroup looks for its place.
//
// include: common/act_{f32,f16}.wgsl

struct Params {
    head4: u32,      // dh / 4
    width4: u32,     // C / 4
    scale: f32,
    causal: u32,
    a_query: u32,    // 0 query, 1 key, 2 value: what plays P and Q in path A
    a_key: u32,
    b_query: u32,
    b_key: u32,
    rows: u32,       // T
}

override PATHS: u32 = 1u;

const MASKED = -1.0e30;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Act4>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<Act4>;

var<workgroup> score_a: array<f32, 1024>;   // [16 queries, 64 keys], then probabilities
var<workgroup> score_b: array<f32, 1024>;
var<workgroup> partial: array<f32, 64>;     // [16 queries, 4 threads]
var<workgroup> alpha_a: array<f32, 16>;     // rescaling of what was accumulated before this step
var<workgroup> alpha_b: array<f32, 16>;

fn load(at: u32, c: u32) -> vec4<f32> {
    return widen_act(qkv[at + c]);
}

// Scores of 4 queries against 4 keys; query0.. and key0.. are offsets of head rows in qkv.
fn scores(query: vec4<u32>, key: vec4<u32>) -> mat4x4<f32> {
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    for (var c = 0u; c < params.head4; c += 1u) {
        let k = transpose(mat4x4<f32>(load(key.x, c), load(key.y, c), load(key.z, c), load(key.w, c)));
        s0 = product(load(query.x, c), k, s0);
        s1 = product(load(query.y, c), k, s1);
        s2 = product(load(query.z, c), k, s2);
        s3 = product(load(query.w, c), k, s3);
    }
    return mat4x4<f32>(s0, s1, s2, s3);
}

fn product(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), b[3], fma(vec4<f32>(a.z), b[2], fma(vec4<f32>(a.y), b[1], fma(vec4<f32>(a.x), b[0], acc))));
}

// Maximum (or sum) over the four threads of a row.
fn row_max(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    let r = lane & ~3u;
    let m = max(max(partial[r], partial[r + 1u]), max(partial[r + 2u], partial[r + 3u]));
    workgroupBarrier();
    return m;
}

fn row_sum(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    let r = lane & ~3u;
    let s = partial[r] + partial[r + 1u] + partial[r + 2u] + partial[r + 3u];
    workgroupBarrier();
    return s;
}

fn store(row: u32, column: u32, v: vec4<f32>) {
    out[row * params.width4 + column] = narrow_act(v);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[group.x];
    let start = tile.x;
    let len = tile.y;
    let query0 = tile.z;
    let head = group.y * params.head4;
    let stride = 3u * params.width4;
    // Keys beyond the last query of a causal tile are never seen.
    let limit = select(len, min(len, query0 + 16u), params.causal != 0u);

    // Step 1 ownership: 4 queries x 4 keys. Step 2: row lane / 4, every fourth key from lane % 4.
    let my_queries = (lane / 16u) * 4u;
    let my_keys = (lane % 16u) * 4u;
    let my_row = lane / 4u;
    let query_rows = (vec4<u32>(start) + min(vec4<u32>(query0 + my_queries) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(len - 1u))) * stride + head;

    // Step 3 ownership: tile number lane, and lane + 64 if there are more than 64 of them.
    let items = 4u * params.head4;
    let item0 = min(lane, items - 1u);
    let item1 = min(lane + 64u, items - 1u);
    let rows0 = (item0 / params.head4) * 4u;
    let column0 = item0 % params.head4;
    let rows1 = (item1 / params.head4) * 4u;
    let column1 = item1 % params.head4;
    let wide = items > 64u;

    var max_a = MASKED;
    var max_b = MASKED;
    var sum_a = 0.0;    // this thread's share; the four of a row are added at the end
    var sum_b = 0.0;
    var oa0 = mat4x4<f32>();
    var oa1 = mat4x4<f32>();
    var ob0 = mat4x4<f32>();
    var ob1 = mat4x4<f32>();

    for (var key0 = 0u; key0 < limit; key0 += 64u) {
        let keys = min(64u, limit - key0);
        if (my_keys < keys) {
            let key = vec4<u32>(key0 + my_keys) + vec4<u32>(0u, 1u, 2u, 3u);
            let key_rows = (vec4<u32>(start) + min(key, vec4<u32>(len - 1u))) * stride + head;
            let sa = scores(query_rows + params.a_query * params.width4, key_rows + params.a_key * params.width4);
            for (var i = 0u; i < 4u; i += 1u) {
                let query = query0 + my_queries + i;
                let last = select(len - 1u, min(query, len - 1u), params.causal != 0u);
                let s = select(sa[i] * params.scale, vec4<f32>(MASKED), key > vec4<u32>(last));
                let at = (my_queries + i) * 64u + my_keys;
                score_a[at] = s.x;
                score_a[at + 1u] = s.y;
                score_a[at + 2u] = s.z;
                score_a[at + 3u] = s.w;
            }
            if (PATHS == 2u) {
                let sb = scores(query_rows + params.b_query * params.width4, key_rows + params.b_key * params.width4);
                for (var i = 0u; i < 4u; i += 1u) {
                    let query = query0 + my_queries + i;
                    let last = select(len - 1u, min(query, len - 1u), params.causal != 0u);
                    let s = select(sb[i] * params.scale, vec4<f32>(MASKED), key > vec4<u32>(last));
                    let at = (my_queries + i) * 64u + my_keys;
                    score_b[at] = s.x;
                    score_b[at + 1u] = s.y;
                    score_b[at + 2u] = s.z;
                    score_b[at + 3u] = s.w;
                }
            }
        }
        workgroupBarrier();

        var m = MASKED;
        for (var j = lane % 4u; j < keys; j += 4u) {
            m = max(m, score_a[my_row * 64u + j]);
        }
        let new_a = max(max_a, row_max(lane, m));
        let fade_a = exp(max_a - new_a);
        sum_a *= fade_a;
        for (var j = lane % 4u; j < keys; j += 4u) {
            let p = exp(score_a[my_row * 64u + j] - new_a);
            score_a[my_row * 64u + j] = p;
            sum_a += p;
        }
        max_a = new_a;
        if (lane % 4u == 0u) {
            alpha_a[my_row] = fade_a;
        }
        if (PATHS == 2u) {
            m = MASKED;
            for (var j = lane % 4u; j < keys; j += 4u) {
                m = max(m, score_b[my_row * 64u + j]);
            }
            let new_b = max(max_b, row_max(lane, m));
            let fade_b = exp(max_b - new_b);
            sum_b *= fade_b;
            for (var j = lane % 4u; j < keys; j += 4u) {
                let p = exp(score_b[my_row * 64u + j] - new_b);
                score_b[my_row * 64u + j] = p;
                sum_b += p;
            }
            max_b = new_b;
            if (lane % 4u == 0u) {
                alpha_b[my_row] = fade_b;
            }
        }
        workgroupBarrier();

        let values = (start + key0) * stride + 2u * params.width4 + head;
        for (var i = 0u; i < 4u; i += 1u) {
            oa0[i] *= alpha_a[rows0 + i];
            if (PATHS == 2u) {
                ob0[i] *= alpha_b[rows0 + i];
            }
        }
        for (var j = 0u; j < keys; j += 1u) {
            let v = load(values + j * stride, column0);
            let at = rows0 * 64u + j;
            oa0[0] = fma(vec4<f32>(score_a[at]), v, oa0[0]);
            oa0[1] = fma(vec4<f32>(score_a[at + 64u]), v, oa0[1]);
            oa0[2] = fma(vec4<f32>(score_a[at + 128u]), v, oa0[2]);
            oa0[3] = fma(vec4<f32>(score_a[at + 192u]), v, oa0[3]);
            if (PATHS == 2u) {
                ob0[0] = fma(vec4<f32>(score_b[at]), v, ob0[0]);
                ob0[1] = fma(vec4<f32>(score_b[at + 64u]), v, ob0[1]);
                ob0[2] = fma(vec4<f32>(score_b[at + 128u]), v, ob0[2]);
                ob0[3] = fma(vec4<f32>(score_b[at + 192u]), v, ob0[3]);
            }
        }
        if (wide) {
            for (var i = 0u; i < 4u; i += 1u) {
                oa1[i] *= alpha_a[rows1 + i];
                if (PATHS == 2u) {
                    ob1[i] *= alpha_b[rows1 + i];
                }
            }
            for (var j = 0u; j < keys; j += 1u) {
                let v = load(values + j * stride, column1);
                let at = rows1 * 64u + j;
                oa1[0] = fma(vec4<f32>(score_a[at]), v, oa1[0]);
                oa1[1] = fma(vec4<f32>(score_a[at + 64u]), v, oa1[1]);
                oa1[2] = fma(vec4<f32>(score_a[at + 128u]), v, oa1[2]);
                oa1[3] = fma(vec4<f32>(score_a[at + 192u]), v, oa1[3]);
                if (PATHS == 2u) {
                    ob1[0] = fma(vec4<f32>(score_b[at]), v, ob1[0]);
                    ob1[1] = fma(vec4<f32>(score_b[at + 64u]), v, ob1[1]);
                    ob1[2] = fma(vec4<f32>(score_b[at + 128u]), v, ob1[2]);
                    ob1[3] = fma(vec4<f32>(score_b[at + 192u]), v, ob1[3]);
                }
            }
        }
        workgroupBarrier();
    }

    // alpha becomes 1 / sum.
    let whole_a = row_sum(lane, sum_a);
    if (lane % 4u == 0u) {
        alpha_a[my_row] = 1.0 / whole_a;
    }
    if (PATHS == 2u) {
        let whole_b = row_sum(lane, sum_b);
        if (lane % 4u == 0u) {
            alpha_b[my_row] = 1.0 / whole_b;
        }
    }
    workgroupBarrier();

    for (var i = 0u; i < 4u; i += 1u) {
        let row = query0 + rows0 + i;
        if (lane < items && row < len) {
            store(start + row, head + column0, oa0[i] * alpha_a[rows0 + i]);
            if (PATHS == 2u) {
                store(params.rows + start + row, head + column0, ob0[i] * alpha_b[rows0 + i]);
            }
        }
        let row1 = query0 + rows1 + i;
        if (wide && lane + 64u < items && row1 < len) {
            store(start + row1, head + column1, oa1[i] * alpha_a[rows1 + i]);
            if (PATHS == 2u) {
                store(params.rows + start + row1, head + column1, ob1[i] * alpha_b[rows1 + i]);
            }
        }
    }
}
