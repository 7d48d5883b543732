// Softmax attention over packed sequences, one or two paths from one reading of the values.
//
// qkv [T, 3 C], or [T, 4 C] with unit values beside them (`unit_values`); head a owns channels a dh .. (a+1) dh of each of
// q, k and v; sequences are row ranges of it.
// Path A: softmax(scale P Q^T) V with P, Q any of q, k, v (ordinary attention: q, k). Path B does the same with its
// own pair (CLIP Surgery: v, v) on the same V. -> out [T, C], or [2 T, C] with path B below path A.
// V may lie elsewhere, in `values`, whose rows are those of qkv: other methods weight the last block's values by
// similarities of an earlier one.
//
// A workgroup of 32 threads owns 32 rows of one head and up to 64 channels: 32 queries, or 16 queries by both paths.
// It walks over 64 keys at a time:
//   1. scores: each thread 8 queries of one path x 8 keys, in registers, then to workgroup memory;
//   2. streaming softmax: a thread a row, running maximum and sum; what was summed before is rescaled by `fade`;
//   3. values: each thread 8 rows x 8 channels in registers, four keys at a time. With two paths the 8 rows are
//      4 queries of path A and the same 4 of path B, so that each value loaded serves both.
// Steps 1 and 3 load 16 vectors for 256 multiply-adds. A head wider than 64 is two workgroups, each with its own half
// of the channels, that compute the same scores: few models have one, and half as many registers serve all others.
// dh up to 128, a multiple of 4. Workgroup memory: 8.6 KiB.
// `tiles` lists the work: (first row of the sequence, its length, first query of this tile, which sequence), so that
// ragged batches waste nothing and no workgroup looks for its place.
//
// SUM: out [T, C] = base + weight_a times path A + weight_b times path B, the same register tiles added up at the end.
// BIAS: scores gain bias [S, R, 4 bias_stride4], a matrix for each sequence or one for all (bias_rows 0), the same for all heads.
// CAP: scores become cap tanh(score / cap).
// All three are constants, as TRIE is, so that plain attention pays nothing for them.
//
// TRIE: texts that share their beginnings, rows in depth-first order, `end` the row behind a row's last descendant. Query
// q sees row k when k <= q < end of k: itself and what leads to it. A tile is any 32 rows, wherever branches begin:
// (where its keys lie in `tiles`, row behind its last, its first row, number of keys). Its keys are the ancestors of its
// first row, then its own rows, for an ancestor of a later row is one or the other. Four keys are two vectors:
// their rows, their ends; keys up to a multiple of eight are filled in, with end 0.
//
// include: common/attention_operands.wgsl
// include: common/attention_fours.wgsl
// include: common/act_{f32,f16}.wgsl
// include: common/tile.wgsl

const STRIDE = 17u;   // vectors per row of scores; 16 would put a column of them into one memory bank

var<workgroup> score: array<vec4<f32>, 544>;   // [32 queries, 64 keys and 4 unused], then probabilities
var<workgroup> fade: array<f32, 32>;           // rescaling of what was accumulated before this step

// Eight neighbouring keys.
struct Keys {
    first: u32,          // place of the first among the keys
    rows0: vec4<u32>,
    rows1: vec4<u32>,
    ends0: vec4<u32>,    // of a trie
    ends1: vec4<u32>,
}

fn eight_keys(start: u32, len: u32, list: u32, key: u32) -> Keys {
    let rows0 = key_rows(start, len, list, key);
    let rows1 = key_rows(start, len, list, key + 4u);
    if (TRIE != 0u) {
        return Keys(key, rows0, rows1, tiles[list + key / 2u + 1u], tiles[list + key / 2u + 3u]);
    }
    return Keys(key, rows0, rows1, vec4<u32>(0u), vec4<u32>(0u));
}

// Scores of one query against eight keys, those it may not see masked.
fn keep(row: u32, query: u32, len: u32, bias0: u32, keys: Keys, p0: vec4<f32>, p1: vec4<f32>) {
    let at = row * STRIDE + keys.first % 64u / 4u;
    let bias_row = bias0 + min(query, len - 1u);
    let s0 = scores_of(p0, bias_row, keys.first / 4u);
    let s1 = scores_of(p1, bias_row, keys.first / 4u + 1u);
    score[at] = select(s0, vec4<f32>(MASKED), hidden_from(query, len, keys.first, keys.rows0, keys.ends0));
    score[at + 1u] = select(s1, vec4<f32>(MASKED), hidden_from(query, len, keys.first + 4u, keys.rows1, keys.ends1));
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[group.x];
    let list = tile.x;
    let start = select(tile.x, 0u, TRIE != 0u);
    let len = tile.y;
    let query0 = tile.z;
    let head = group.y * params.head4;
    let two = params.paths == 2u;
    let stride = params.stride4;
    // Keys beyond the last query of a causal tile are never seen.
    let seen = select(len, min(len, query0 + select(32u, 16u, two)), params.causal != 0u);
    let limit = select(seen, tile.w, TRIE != 0u);
    let bias0 = select(0u, tile.w * params.bias_rows, BIAS != 0u);
    // Scores that are bias alone need no product.
    let steps = select(params.head4, 0u, BIAS != 0u && params.scale == 0.0);

    // Step 1: 4 groups of 8 queries by 8 groups of 8 keys, eight neighbouring threads on 16 keys: a driver that runs
    // eight at once then skips what lies behind the last key. Step 2: row lane. Step 3: eight neighbouring threads on
    // 8 rows, each on vectors lane % 8 and, eight further, another; rows behind the last are skipped.
    // Row of query i and path b: i with one path, (i / 4) * 8 + b * 4 + i % 4 with two.
    let my_group = lane / 2u % 4u;
    let second = two && my_group >= 2u;
    let p_at = select(params.a_query, params.b_query, second) * params.width4 + head;
    let q_at = select(params.a_key, params.b_key, second) * params.width4 + head;
    let my_queries = select(my_group, my_group % 2u, two) * 8u;
    let low_row = select(my_queries, my_queries * 2u + select(0u, 4u, second), two);
    let high_row = low_row + select(4u, 8u, two);
    let my_keys = (lane % 2u + lane / 8u * 2u) * 8u;
    let my_rows = (lane / 8u) * 8u;
    let p0 = (start + min(query0 + my_queries + 0u, len - 1u)) * stride + p_at;
    let p1 = (start + min(query0 + my_queries + 1u, len - 1u)) * stride + p_at;
    let p2 = (start + min(query0 + my_queries + 2u, len - 1u)) * stride + p_at;
    let p3 = (start + min(query0 + my_queries + 3u, len - 1u)) * stride + p_at;
    let p4 = (start + min(query0 + my_queries + 4u, len - 1u)) * stride + p_at;
    let p5 = (start + min(query0 + my_queries + 5u, len - 1u)) * stride + p_at;
    let p6 = (start + min(query0 + my_queries + 6u, len - 1u)) * stride + p_at;
    let p7 = (start + min(query0 + my_queries + 7u, len - 1u)) * stride + p_at;
    let column0 = group.z * 16u + lane % 8u;
    let column1 = column0 + 8u;
    let values0 = params.value_at4 + head + min(column0, params.head4 - 1u);
    let values1 = params.value_at4 + head + min(column1, params.head4 - 1u);

    var largest = MASKED;
    var sum = 0.0;
    var o0_0 = vec4<f32>(0.0); var o0_1 = vec4<f32>(0.0);
    var o1_0 = vec4<f32>(0.0); var o1_1 = vec4<f32>(0.0);
    var o2_0 = vec4<f32>(0.0); var o2_1 = vec4<f32>(0.0);
    var o3_0 = vec4<f32>(0.0); var o3_1 = vec4<f32>(0.0);
    var o4_0 = vec4<f32>(0.0); var o4_1 = vec4<f32>(0.0);
    var o5_0 = vec4<f32>(0.0); var o5_1 = vec4<f32>(0.0);
    var o6_0 = vec4<f32>(0.0); var o6_1 = vec4<f32>(0.0);
    var o7_0 = vec4<f32>(0.0); var o7_1 = vec4<f32>(0.0);

    for (var key0 = 0u; key0 < limit; key0 += 64u) {
        let keys = min(64u, limit - key0);
        if (my_keys < keys) {
            let these = eight_keys(start, len, list, key0 + my_keys);
            let at0 = these.rows0 * stride + q_at;
            let at1 = these.rows1 * stride + q_at;
            var s0_0 = vec4<f32>(0.0); var s0_1 = vec4<f32>(0.0);
            var s1_0 = vec4<f32>(0.0); var s1_1 = vec4<f32>(0.0);
            var s2_0 = vec4<f32>(0.0); var s2_1 = vec4<f32>(0.0);
            var s3_0 = vec4<f32>(0.0); var s3_1 = vec4<f32>(0.0);
            var s4_0 = vec4<f32>(0.0); var s4_1 = vec4<f32>(0.0);
            var s5_0 = vec4<f32>(0.0); var s5_1 = vec4<f32>(0.0);
            var s6_0 = vec4<f32>(0.0); var s6_1 = vec4<f32>(0.0);
            var s7_0 = vec4<f32>(0.0); var s7_1 = vec4<f32>(0.0);
            for (var c = 0u; c < steps; c += 1u) {
                let k0 = transpose(mat4x4<f32>(load(at0.x + c), load(at0.y + c), load(at0.z + c), load(at0.w + c)));
                let k1 = transpose(mat4x4<f32>(load(at1.x + c), load(at1.y + c), load(at1.z + c), load(at1.w + c)));
                let a0 = load(p0 + c);
                s0_0 = step4(a0, k0, s0_0); s0_1 = step4(a0, k1, s0_1);
                let a1 = load(p1 + c);
                s1_0 = step4(a1, k0, s1_0); s1_1 = step4(a1, k1, s1_1);
                let a2 = load(p2 + c);
                s2_0 = step4(a2, k0, s2_0); s2_1 = step4(a2, k1, s2_1);
                let a3 = load(p3 + c);
                s3_0 = step4(a3, k0, s3_0); s3_1 = step4(a3, k1, s3_1);
                let a4 = load(p4 + c);
                s4_0 = step4(a4, k0, s4_0); s4_1 = step4(a4, k1, s4_1);
                let a5 = load(p5 + c);
                s5_0 = step4(a5, k0, s5_0); s5_1 = step4(a5, k1, s5_1);
                let a6 = load(p6 + c);
                s6_0 = step4(a6, k0, s6_0); s6_1 = step4(a6, k1, s6_1);
                let a7 = load(p7 + c);
                s7_0 = step4(a7, k0, s7_0); s7_1 = step4(a7, k1, s7_1);
            }
            keep(low_row + 0u, query0 + my_queries + 0u, len, bias0, these, s0_0, s0_1);
            keep(low_row + 1u, query0 + my_queries + 1u, len, bias0, these, s1_0, s1_1);
            keep(low_row + 2u, query0 + my_queries + 2u, len, bias0, these, s2_0, s2_1);
            keep(low_row + 3u, query0 + my_queries + 3u, len, bias0, these, s3_0, s3_1);
            keep(high_row + 0u, query0 + my_queries + 4u, len, bias0, these, s4_0, s4_1);
            keep(high_row + 1u, query0 + my_queries + 5u, len, bias0, these, s5_0, s5_1);
            keep(high_row + 2u, query0 + my_queries + 6u, len, bias0, these, s6_0, s6_1);
            keep(high_row + 3u, query0 + my_queries + 7u, len, bias0, these, s7_0, s7_1);
        }
        workgroupBarrier();

        let row = lane * STRIDE;
        let quads = (keys + 3u) / 4u;
        var m = vec4<f32>(MASKED);
        for (var j = 0u; j < quads; j += 1u) {
            m = max(m, score[row + j]);
        }
        let before = largest;
        largest = max(max(largest, max(m.x, m.y)), max(m.z, m.w));
        var total = vec4<f32>(0.0);
        for (var j = 0u; j < quads; j += 1u) {
            let p = exp(score[row + j] - largest);
            score[row + j] = p;
            total += p;
        }
        let lost = exp(before - largest);
        sum = sum * lost + total.x + total.y + total.z + total.w;
        fade[lane] = lost;
        workgroupBarrier();

        if (query0 + select(my_rows, my_rows / 2u, two) < len) {
            o0_0 *= fade[my_rows + 0u]; o0_1 *= fade[my_rows + 0u];
            o1_0 *= fade[my_rows + 1u]; o1_1 *= fade[my_rows + 1u];
            o2_0 *= fade[my_rows + 2u]; o2_1 *= fade[my_rows + 2u];
            o3_0 *= fade[my_rows + 3u]; o3_1 *= fade[my_rows + 3u];
            o4_0 *= fade[my_rows + 4u]; o4_1 *= fade[my_rows + 4u];
            o5_0 *= fade[my_rows + 5u]; o5_1 *= fade[my_rows + 5u];
            o6_0 *= fade[my_rows + 6u]; o6_1 *= fade[my_rows + 6u];
            o7_0 *= fade[my_rows + 7u]; o7_1 *= fade[my_rows + 7u];
            for (var j = 0u; j < quads; j += 1u) {
                // Keys beyond the last have probability 0, but their values must be numbers: the last key's.
                let rows = key_rows(start, len, list, key0 + 4u * j) * params.value_stride4;
                let v0 = mat4x4<f32>(load_value(rows.x + values0), load_value(rows.y + values0), load_value(rows.z + values0), load_value(rows.w + values0));
                let v1 = mat4x4<f32>(load_value(rows.x + values1), load_value(rows.y + values1), load_value(rows.z + values1), load_value(rows.w + values1));
                let at = my_rows * STRIDE + j;
                let w0 = score[at + 0u * STRIDE];
                o0_0 = step4(w0, v0, o0_0); o0_1 = step4(w0, v1, o0_1);
                let w1 = score[at + 1u * STRIDE];
                o1_0 = step4(w1, v0, o1_0); o1_1 = step4(w1, v1, o1_1);
                let w2 = score[at + 2u * STRIDE];
                o2_0 = step4(w2, v0, o2_0); o2_1 = step4(w2, v1, o2_1);
                let w3 = score[at + 3u * STRIDE];
                o3_0 = step4(w3, v0, o3_0); o3_1 = step4(w3, v1, o3_1);
                let w4 = score[at + 4u * STRIDE];
                o4_0 = step4(w4, v0, o4_0); o4_1 = step4(w4, v1, o4_1);
                let w5 = score[at + 5u * STRIDE];
                o5_0 = step4(w5, v0, o5_0); o5_1 = step4(w5, v1, o5_1);
                let w6 = score[at + 6u * STRIDE];
                o6_0 = step4(w6, v0, o6_0); o6_1 = step4(w6, v1, o6_1);
                let w7 = score[at + 7u * STRIDE];
                o7_0 = step4(w7, v0, o7_0); o7_1 = step4(w7, v1, o7_1);
            }
        }
        workgroupBarrier();
    }

    // Row `lane` is path B's if it is one of the second four of eight.
    let weight = select(params.weight_a, params.weight_b, two && lane / 4u % 2u == 1u);
    fade[lane] = select(1.0, weight, SUM != 0u) / sum;
    workgroupBarrier();
    o0_0 *= fade[my_rows + 0u]; o0_1 *= fade[my_rows + 0u];
    o1_0 *= fade[my_rows + 1u]; o1_1 *= fade[my_rows + 1u];
    o2_0 *= fade[my_rows + 2u]; o2_1 *= fade[my_rows + 2u];
    o3_0 *= fade[my_rows + 3u]; o3_1 *= fade[my_rows + 3u];
    o4_0 *= fade[my_rows + 4u]; o4_1 *= fade[my_rows + 4u];
    o5_0 *= fade[my_rows + 5u]; o5_1 *= fade[my_rows + 5u];
    o6_0 *= fade[my_rows + 6u]; o6_1 *= fade[my_rows + 6u];
    o7_0 *= fade[my_rows + 7u]; o7_1 *= fade[my_rows + 7u];
    let added = SUM != 0u && two;
    if (added) {
        o0_0 += o4_0; o0_1 += o4_1;
        o1_0 += o5_0; o1_1 += o5_1;
        o2_0 += o6_0; o2_1 += o6_1;
        o3_0 += o7_0; o3_1 += o7_1;
    }
    // The first four rows are path A's; the others are four queries further, or the same four of path B.
    let first_a = start * params.width4 + head;
    let first_b = first_a + select(0u, params.rows * params.width4, two);
    let query_a = query0 + select(my_rows, my_rows / 2u, two);
    let query_b = query_a + select(4u, 0u, two);
    store(first_a, query_a + 0u, len, column0, o0_0);
    store(first_a, query_a + 0u, len, column1, o0_1);
    store(first_a, query_a + 1u, len, column0, o1_0);
    store(first_a, query_a + 1u, len, column1, o1_1);
    store(first_a, query_a + 2u, len, column0, o2_0);
    store(first_a, query_a + 2u, len, column1, o2_1);
    store(first_a, query_a + 3u, len, column0, o3_0);
    store(first_a, query_a + 3u, len, column1, o3_1);
    if (!added) {
        store(first_b, query_b + 0u, len, column0, o4_0);
        store(first_b, query_b + 0u, len, column1, o4_1);
        store(first_b, query_b + 1u, len, column0, o5_0);
        store(first_b, query_b + 1u, len, column1, o5_1);
        store(first_b, query_b + 2u, len, column0, o6_0);
        store(first_b, query_b + 2u, len, column1, o6_1);
        store(first_b, query_b + 3u, len, column0, o7_0);
        store(first_b, query_b + 3u, len, column1, o7_1);
    }
}
