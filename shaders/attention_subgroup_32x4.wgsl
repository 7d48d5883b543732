// Softmax attention as `attention.wgsl` defines it, 32 rows x 4 keys by subgroups
//
// A workgroup of 8 threads owns the 32 rows and up to 64 channels of a workgroup of `attention`, with the same list of
// tiles. It walks over 32 keys at a time:
//   1. scores: each thread all 32 rows x 4 keys. Lane i reads row i of each eight, and the others get it by broadcast;
//   2. streaming softmax, in registers: the largest of a row is found by the lanes together, sums stay in parts to the end;
//   3. values: each thread 32 rows x 8 channels. Four keys' probabilities are taken from the lane that has them.
// A load takes eight channels, as in `matmul_subgroup_50x8`. So a thread loads 4 + 4 times for 1,024 multiply-adds of step 1
// (4 + 8 with two paths, whose keys differ) and 4 times for 1,024 of step 3, where `attention` loads 16 vectors for 256; no
// score passes through memory. For devices where a load costs as much as many multiply-adds and registers are many. Heads
// must be multiples of 8.
//
// Rows 0 to 15 and 16 to 31 are 32 queries, or the same 16 by path A and by path B. All threads stay to the end.
// As in `matmul`, each parks its result in its own part of workgroup memory (8 KiB) and stores it in a loop.
//
// family: attention
// needs: subgroup_int64
// include: common/attention_operands.wgsl
// include: common/attention_eights.wgsl
// include: common/act_{f32,f16}.wgsl
// include: common/act8_{act}.wgsl
// include: common/eight_floats.wgsl
// include: common/tile.wgsl
// include: common/tile8.wgsl

var<workgroup> parked: array<vec4<f32>, 512>;   // [32 rows, 2 vectors, 8 threads]

// The largest score of four rows among all lanes' keys.
fn largest_of(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    let t = transpose(mat4x4<f32>(a, b, c, d));
    var m = max(max(t[0], t[1]), max(t[2], t[3]));
    m = max(m, subgroupShuffleXor(m, 1u));
    m = max(m, subgroupShuffleXor(m, 2u));
    return max(m, subgroupShuffleXor(m, 4u));
}

// Each row's sum over its four keys.
fn sums_of(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    let t = transpose(mat4x4<f32>(a, b, c, d));
    return t[0] + t[1] + (t[2] + t[3]);
}

// The sum over all lanes.
fn total_of(part: vec4<f32>) -> vec4<f32> {
    let pairs = part + subgroupShuffleXor(part, 1u);
    let fours = pairs + subgroupShuffleXor(pairs, 2u);
    return fours + subgroupShuffleXor(fours, 4u);
}

fn score_of(product: vec4<f32>, query: u32, len: u32, bias0: u32, keys: Keys) -> vec4<f32> {
    let s = scores_of(product, bias0 + min(query, len - 1u), keys.first / 4u);
    return select(s, vec4<f32>(MASKED), hidden_from(query, len, keys.first, keys.rows, keys.ends));
}

// Four neighbouring keys.
struct Keys {
    first: u32,          // place of the first among the keys
    rows: vec4<u32>,
    ends: vec4<u32>,     // of a trie
}

fn four_keys(start: u32, len: u32, list: u32, key: u32, limit: u32) -> Keys {
    if (TRIE != 0u) {
        // Behind the list lies another tile's: the last four once more, hidden from all.
        let at = list + min(key, (limit - 1u) / 4u * 4u) / 2u;
        return Keys(key, tiles[at], select(tiles[at + 1u], vec4<u32>(0u), vec4<bool>(key >= limit)));
    }
    return Keys(key, key_rows(start, len, list, key), vec4<u32>(0u));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = tiles[group.x];
    let list = tile.x;
    let start = select(tile.x, 0u, TRIE != 0u);
    let len = tile.y;
    let query0 = tile.z;
    let head = group.y * params.head4;
    let head8 = params.head4 / 2u;
    let width8 = params.width4 / 2u;
    let two = params.paths == 2u;
    let stride = params.stride4 / 2u;
    // Keys beyond the last query of a causal tile are never seen.
    let seen = select(len, min(len, query0 + select(32u, 16u, two)), params.causal != 0u);
    let limit = select(seen, tile.w, TRIE != 0u);
    let bias0 = select(0u, tile.w * params.bias_rows, BIAS != 0u);
    // Scores that are bias alone need no product.
    let steps = select(head8, 0u, BIAS != 0u && params.scale == 0.0);

    // Query of row 16; where P and Q of the upper rows and of the lower ones begin.
    let query16 = query0 + select(16u, 0u, two);
    let pa = params.a_query * width8 + head / 2u;
    let qa = params.a_key * width8 + head / 2u;
    let pb = select(params.a_query, params.b_query, two) * width8 + head / 2u;
    let qb = params.b_key * width8 + head / 2u;
    let p0 = (start + min(query0 + 0u + lane, len - 1u)) * stride + pa;
    let p1 = (start + min(query0 + 8u + lane, len - 1u)) * stride + pa;
    let p2 = (start + min(query16 + 0u + lane, len - 1u)) * stride + pb;
    let p3 = (start + min(query16 + 8u + lane, len - 1u)) * stride + pb;
    let column = group.z * 16u + 2u * lane;
    let value_at = (params.value_at4 + head) / 2u + min(group.z * 8u + lane, head8 - 1u);

    var largest0 = vec4<f32>(MASKED); var sum0 = vec4<f32>(0.0);
    var largest1 = vec4<f32>(MASKED); var sum1 = vec4<f32>(0.0);
    var largest2 = vec4<f32>(MASKED); var sum2 = vec4<f32>(0.0);
    var largest3 = vec4<f32>(MASKED); var sum3 = vec4<f32>(0.0);
    var largest4 = vec4<f32>(MASKED); var sum4 = vec4<f32>(0.0);
    var largest5 = vec4<f32>(MASKED); var sum5 = vec4<f32>(0.0);
    var largest6 = vec4<f32>(MASKED); var sum6 = vec4<f32>(0.0);
    var largest7 = vec4<f32>(MASKED); var sum7 = vec4<f32>(0.0);
    var o0_0 = vec4<f32>(0.0); var o0_1 = vec4<f32>(0.0);
    var o1_0 = vec4<f32>(0.0); var o1_1 = vec4<f32>(0.0);
    var o2_0 = vec4<f32>(0.0); var o2_1 = vec4<f32>(0.0);
    var o3_0 = vec4<f32>(0.0); var o3_1 = vec4<f32>(0.0);
    var o4_0 = vec4<f32>(0.0); var o4_1 = vec4<f32>(0.0);
    var o5_0 = vec4<f32>(0.0); var o5_1 = vec4<f32>(0.0);
    var o6_0 = vec4<f32>(0.0); var o6_1 = vec4<f32>(0.0);
    var o7_0 = vec4<f32>(0.0); var o7_1 = vec4<f32>(0.0);
    var o8_0 = vec4<f32>(0.0); var o8_1 = vec4<f32>(0.0);
    var o9_0 = vec4<f32>(0.0); var o9_1 = vec4<f32>(0.0);
    var o10_0 = vec4<f32>(0.0); var o10_1 = vec4<f32>(0.0);
    var o11_0 = vec4<f32>(0.0); var o11_1 = vec4<f32>(0.0);
    var o12_0 = vec4<f32>(0.0); var o12_1 = vec4<f32>(0.0);
    var o13_0 = vec4<f32>(0.0); var o13_1 = vec4<f32>(0.0);
    var o14_0 = vec4<f32>(0.0); var o14_1 = vec4<f32>(0.0);
    var o15_0 = vec4<f32>(0.0); var o15_1 = vec4<f32>(0.0);
    var o16_0 = vec4<f32>(0.0); var o16_1 = vec4<f32>(0.0);
    var o17_0 = vec4<f32>(0.0); var o17_1 = vec4<f32>(0.0);
    var o18_0 = vec4<f32>(0.0); var o18_1 = vec4<f32>(0.0);
    var o19_0 = vec4<f32>(0.0); var o19_1 = vec4<f32>(0.0);
    var o20_0 = vec4<f32>(0.0); var o20_1 = vec4<f32>(0.0);
    var o21_0 = vec4<f32>(0.0); var o21_1 = vec4<f32>(0.0);
    var o22_0 = vec4<f32>(0.0); var o22_1 = vec4<f32>(0.0);
    var o23_0 = vec4<f32>(0.0); var o23_1 = vec4<f32>(0.0);
    var o24_0 = vec4<f32>(0.0); var o24_1 = vec4<f32>(0.0);
    var o25_0 = vec4<f32>(0.0); var o25_1 = vec4<f32>(0.0);
    var o26_0 = vec4<f32>(0.0); var o26_1 = vec4<f32>(0.0);
    var o27_0 = vec4<f32>(0.0); var o27_1 = vec4<f32>(0.0);
    var o28_0 = vec4<f32>(0.0); var o28_1 = vec4<f32>(0.0);
    var o29_0 = vec4<f32>(0.0); var o29_1 = vec4<f32>(0.0);
    var o30_0 = vec4<f32>(0.0); var o30_1 = vec4<f32>(0.0);
    var o31_0 = vec4<f32>(0.0); var o31_1 = vec4<f32>(0.0);

    for (var key0 = 0u; key0 < limit; key0 += 32u) {
        let these = four_keys(start, len, list, key0 + 4u * lane, limit);
        let at = these.rows * stride + qa;
        let other = these.rows * stride + qb;
        var s0 = vec4<f32>(0.0); var s1 = vec4<f32>(0.0); var s2 = vec4<f32>(0.0); var s3 = vec4<f32>(0.0);
        var s4 = vec4<f32>(0.0); var s5 = vec4<f32>(0.0); var s6 = vec4<f32>(0.0); var s7 = vec4<f32>(0.0);
        var s8 = vec4<f32>(0.0); var s9 = vec4<f32>(0.0); var s10 = vec4<f32>(0.0); var s11 = vec4<f32>(0.0);
        var s12 = vec4<f32>(0.0); var s13 = vec4<f32>(0.0); var s14 = vec4<f32>(0.0); var s15 = vec4<f32>(0.0);
        var s16 = vec4<f32>(0.0); var s17 = vec4<f32>(0.0); var s18 = vec4<f32>(0.0); var s19 = vec4<f32>(0.0);
        var s20 = vec4<f32>(0.0); var s21 = vec4<f32>(0.0); var s22 = vec4<f32>(0.0); var s23 = vec4<f32>(0.0);
        var s24 = vec4<f32>(0.0); var s25 = vec4<f32>(0.0); var s26 = vec4<f32>(0.0); var s27 = vec4<f32>(0.0);
        var s28 = vec4<f32>(0.0); var s29 = vec4<f32>(0.0); var s30 = vec4<f32>(0.0); var s31 = vec4<f32>(0.0);
        for (var c = 0u; c < steps; c += 1u) {
            let k = four_keys_at(at + c);
            let a0 = qkv[p0 + c]; let low0 = low_acts(a0); let high0 = high_acts(a0);
            s0 = step8(subgroupBroadcast(low0, 0u), subgroupBroadcast(high0, 0u), k, s0);
            s1 = step8(subgroupBroadcast(low0, 1u), subgroupBroadcast(high0, 1u), k, s1);
            s2 = step8(subgroupBroadcast(low0, 2u), subgroupBroadcast(high0, 2u), k, s2);
            s3 = step8(subgroupBroadcast(low0, 3u), subgroupBroadcast(high0, 3u), k, s3);
            s4 = step8(subgroupBroadcast(low0, 4u), subgroupBroadcast(high0, 4u), k, s4);
            s5 = step8(subgroupBroadcast(low0, 5u), subgroupBroadcast(high0, 5u), k, s5);
            s6 = step8(subgroupBroadcast(low0, 6u), subgroupBroadcast(high0, 6u), k, s6);
            s7 = step8(subgroupBroadcast(low0, 7u), subgroupBroadcast(high0, 7u), k, s7);
            let a1 = qkv[p1 + c]; let low1 = low_acts(a1); let high1 = high_acts(a1);
            s8 = step8(subgroupBroadcast(low1, 0u), subgroupBroadcast(high1, 0u), k, s8);
            s9 = step8(subgroupBroadcast(low1, 1u), subgroupBroadcast(high1, 1u), k, s9);
            s10 = step8(subgroupBroadcast(low1, 2u), subgroupBroadcast(high1, 2u), k, s10);
            s11 = step8(subgroupBroadcast(low1, 3u), subgroupBroadcast(high1, 3u), k, s11);
            s12 = step8(subgroupBroadcast(low1, 4u), subgroupBroadcast(high1, 4u), k, s12);
            s13 = step8(subgroupBroadcast(low1, 5u), subgroupBroadcast(high1, 5u), k, s13);
            s14 = step8(subgroupBroadcast(low1, 6u), subgroupBroadcast(high1, 6u), k, s14);
            s15 = step8(subgroupBroadcast(low1, 7u), subgroupBroadcast(high1, 7u), k, s15);
            var l = k;
            if (two) {
                l = four_keys_at(other + c);
            }
            let a2 = qkv[p2 + c]; let low2 = low_acts(a2); let high2 = high_acts(a2);
            s16 = step8(subgroupBroadcast(low2, 0u), subgroupBroadcast(high2, 0u), l, s16);
            s17 = step8(subgroupBroadcast(low2, 1u), subgroupBroadcast(high2, 1u), l, s17);
            s18 = step8(subgroupBroadcast(low2, 2u), subgroupBroadcast(high2, 2u), l, s18);
            s19 = step8(subgroupBroadcast(low2, 3u), subgroupBroadcast(high2, 3u), l, s19);
            s20 = step8(subgroupBroadcast(low2, 4u), subgroupBroadcast(high2, 4u), l, s20);
            s21 = step8(subgroupBroadcast(low2, 5u), subgroupBroadcast(high2, 5u), l, s21);
            s22 = step8(subgroupBroadcast(low2, 6u), subgroupBroadcast(high2, 6u), l, s22);
            s23 = step8(subgroupBroadcast(low2, 7u), subgroupBroadcast(high2, 7u), l, s23);
            let a3 = qkv[p3 + c]; let low3 = low_acts(a3); let high3 = high_acts(a3);
            s24 = step8(subgroupBroadcast(low3, 0u), subgroupBroadcast(high3, 0u), l, s24);
            s25 = step8(subgroupBroadcast(low3, 1u), subgroupBroadcast(high3, 1u), l, s25);
            s26 = step8(subgroupBroadcast(low3, 2u), subgroupBroadcast(high3, 2u), l, s26);
            s27 = step8(subgroupBroadcast(low3, 3u), subgroupBroadcast(high3, 3u), l, s27);
            s28 = step8(subgroupBroadcast(low3, 4u), subgroupBroadcast(high3, 4u), l, s28);
            s29 = step8(subgroupBroadcast(low3, 5u), subgroupBroadcast(high3, 5u), l, s29);
            s30 = step8(subgroupBroadcast(low3, 6u), subgroupBroadcast(high3, 6u), l, s30);
            s31 = step8(subgroupBroadcast(low3, 7u), subgroupBroadcast(high3, 7u), l, s31);
        }
        s0 = score_of(s0, query0 + 0u, len, bias0, these);
        s1 = score_of(s1, query0 + 1u, len, bias0, these);
        s2 = score_of(s2, query0 + 2u, len, bias0, these);
        s3 = score_of(s3, query0 + 3u, len, bias0, these);
        s4 = score_of(s4, query0 + 4u, len, bias0, these);
        s5 = score_of(s5, query0 + 5u, len, bias0, these);
        s6 = score_of(s6, query0 + 6u, len, bias0, these);
        s7 = score_of(s7, query0 + 7u, len, bias0, these);
        s8 = score_of(s8, query0 + 8u, len, bias0, these);
        s9 = score_of(s9, query0 + 9u, len, bias0, these);
        s10 = score_of(s10, query0 + 10u, len, bias0, these);
        s11 = score_of(s11, query0 + 11u, len, bias0, these);
        s12 = score_of(s12, query0 + 12u, len, bias0, these);
        s13 = score_of(s13, query0 + 13u, len, bias0, these);
        s14 = score_of(s14, query0 + 14u, len, bias0, these);
        s15 = score_of(s15, query0 + 15u, len, bias0, these);
        s16 = score_of(s16, query16 + 0u, len, bias0, these);
        s17 = score_of(s17, query16 + 1u, len, bias0, these);
        s18 = score_of(s18, query16 + 2u, len, bias0, these);
        s19 = score_of(s19, query16 + 3u, len, bias0, these);
        s20 = score_of(s20, query16 + 4u, len, bias0, these);
        s21 = score_of(s21, query16 + 5u, len, bias0, these);
        s22 = score_of(s22, query16 + 6u, len, bias0, these);
        s23 = score_of(s23, query16 + 7u, len, bias0, these);
        s24 = score_of(s24, query16 + 8u, len, bias0, these);
        s25 = score_of(s25, query16 + 9u, len, bias0, these);
        s26 = score_of(s26, query16 + 10u, len, bias0, these);
        s27 = score_of(s27, query16 + 11u, len, bias0, these);
        s28 = score_of(s28, query16 + 12u, len, bias0, these);
        s29 = score_of(s29, query16 + 13u, len, bias0, these);
        s30 = score_of(s30, query16 + 14u, len, bias0, these);
        s31 = score_of(s31, query16 + 15u, len, bias0, these);

        let best0 = max(largest0, largest_of(s0, s1, s2, s3));
        let fade0 = exp(largest0 - best0);
        largest0 = best0;
        s0 = exp(s0 - best0.x); o0_0 *= fade0.x; o0_1 *= fade0.x;
        s1 = exp(s1 - best0.y); o1_0 *= fade0.y; o1_1 *= fade0.y;
        s2 = exp(s2 - best0.z); o2_0 *= fade0.z; o2_1 *= fade0.z;
        s3 = exp(s3 - best0.w); o3_0 *= fade0.w; o3_1 *= fade0.w;
        sum0 = sum0 * fade0 + sums_of(s0, s1, s2, s3);
        let best1 = max(largest1, largest_of(s4, s5, s6, s7));
        let fade1 = exp(largest1 - best1);
        largest1 = best1;
        s4 = exp(s4 - best1.x); o4_0 *= fade1.x; o4_1 *= fade1.x;
        s5 = exp(s5 - best1.y); o5_0 *= fade1.y; o5_1 *= fade1.y;
        s6 = exp(s6 - best1.z); o6_0 *= fade1.z; o6_1 *= fade1.z;
        s7 = exp(s7 - best1.w); o7_0 *= fade1.w; o7_1 *= fade1.w;
        sum1 = sum1 * fade1 + sums_of(s4, s5, s6, s7);
        let best2 = max(largest2, largest_of(s8, s9, s10, s11));
        let fade2 = exp(largest2 - best2);
        largest2 = best2;
        s8 = exp(s8 - best2.x); o8_0 *= fade2.x; o8_1 *= fade2.x;
        s9 = exp(s9 - best2.y); o9_0 *= fade2.y; o9_1 *= fade2.y;
        s10 = exp(s10 - best2.z); o10_0 *= fade2.z; o10_1 *= fade2.z;
        s11 = exp(s11 - best2.w); o11_0 *= fade2.w; o11_1 *= fade2.w;
        sum2 = sum2 * fade2 + sums_of(s8, s9, s10, s11);
        let best3 = max(largest3, largest_of(s12, s13, s14, s15));
        let fade3 = exp(largest3 - best3);
        largest3 = best3;
        s12 = exp(s12 - best3.x); o12_0 *= fade3.x; o12_1 *= fade3.x;
        s13 = exp(s13 - best3.y); o13_0 *= fade3.y; o13_1 *= fade3.y;
        s14 = exp(s14 - best3.z); o14_0 *= fade3.z; o14_1 *= fade3.z;
        s15 = exp(s15 - best3.w); o15_0 *= fade3.w; o15_1 *= fade3.w;
        sum3 = sum3 * fade3 + sums_of(s12, s13, s14, s15);
        let best4 = max(largest4, largest_of(s16, s17, s18, s19));
        let fade4 = exp(largest4 - best4);
        largest4 = best4;
        s16 = exp(s16 - best4.x); o16_0 *= fade4.x; o16_1 *= fade4.x;
        s17 = exp(s17 - best4.y); o17_0 *= fade4.y; o17_1 *= fade4.y;
        s18 = exp(s18 - best4.z); o18_0 *= fade4.z; o18_1 *= fade4.z;
        s19 = exp(s19 - best4.w); o19_0 *= fade4.w; o19_1 *= fade4.w;
        sum4 = sum4 * fade4 + sums_of(s16, s17, s18, s19);
        let best5 = max(largest5, largest_of(s20, s21, s22, s23));
        let fade5 = exp(largest5 - best5);
        largest5 = best5;
        s20 = exp(s20 - best5.x); o20_0 *= fade5.x; o20_1 *= fade5.x;
        s21 = exp(s21 - best5.y); o21_0 *= fade5.y; o21_1 *= fade5.y;
        s22 = exp(s22 - best5.z); o22_0 *= fade5.z; o22_1 *= fade5.z;
        s23 = exp(s23 - best5.w); o23_0 *= fade5.w; o23_1 *= fade5.w;
        sum5 = sum5 * fade5 + sums_of(s20, s21, s22, s23);
        let best6 = max(largest6, largest_of(s24, s25, s26, s27));
        let fade6 = exp(largest6 - best6);
        largest6 = best6;
        s24 = exp(s24 - best6.x); o24_0 *= fade6.x; o24_1 *= fade6.x;
        s25 = exp(s25 - best6.y); o25_0 *= fade6.y; o25_1 *= fade6.y;
        s26 = exp(s26 - best6.z); o26_0 *= fade6.z; o26_1 *= fade6.z;
        s27 = exp(s27 - best6.w); o27_0 *= fade6.w; o27_1 *= fade6.w;
        sum6 = sum6 * fade6 + sums_of(s24, s25, s26, s27);
        let best7 = max(largest7, largest_of(s28, s29, s30, s31));
        let fade7 = exp(largest7 - best7);
        largest7 = best7;
        s28 = exp(s28 - best7.x); o28_0 *= fade7.x; o28_1 *= fade7.x;
        s29 = exp(s29 - best7.y); o29_0 *= fade7.y; o29_1 *= fade7.y;
        s30 = exp(s30 - best7.z); o30_0 *= fade7.z; o30_1 *= fade7.z;
        s31 = exp(s31 - best7.w); o31_0 *= fade7.w; o31_1 *= fade7.w;
        sum7 = sum7 * fade7 + sums_of(s28, s29, s30, s31);

        let quads = (min(32u, limit - key0) + 3u) / 4u;
        for (var j = 0u; j < quads; j += 1u) {
            // Keys beyond the last have probability 0, but their values must be numbers: the last key's.
            let v = four_values_at(key_rows(start, len, list, key0 + 4u * j) * (params.value_stride4 / 2u) + value_at);
            let w0 = subgroupShuffle(s0, j);
            o0_0 = step4(w0, v.low, o0_0); o0_1 = step4(w0, v.high, o0_1);
            let w1 = subgroupShuffle(s1, j);
            o1_0 = step4(w1, v.low, o1_0); o1_1 = step4(w1, v.high, o1_1);
            let w2 = subgroupShuffle(s2, j);
            o2_0 = step4(w2, v.low, o2_0); o2_1 = step4(w2, v.high, o2_1);
            let w3 = subgroupShuffle(s3, j);
            o3_0 = step4(w3, v.low, o3_0); o3_1 = step4(w3, v.high, o3_1);
            let w4 = subgroupShuffle(s4, j);
            o4_0 = step4(w4, v.low, o4_0); o4_1 = step4(w4, v.high, o4_1);
            let w5 = subgroupShuffle(s5, j);
            o5_0 = step4(w5, v.low, o5_0); o5_1 = step4(w5, v.high, o5_1);
            let w6 = subgroupShuffle(s6, j);
            o6_0 = step4(w6, v.low, o6_0); o6_1 = step4(w6, v.high, o6_1);
            let w7 = subgroupShuffle(s7, j);
            o7_0 = step4(w7, v.low, o7_0); o7_1 = step4(w7, v.high, o7_1);
            let w8 = subgroupShuffle(s8, j);
            o8_0 = step4(w8, v.low, o8_0); o8_1 = step4(w8, v.high, o8_1);
            let w9 = subgroupShuffle(s9, j);
            o9_0 = step4(w9, v.low, o9_0); o9_1 = step4(w9, v.high, o9_1);
            let w10 = subgroupShuffle(s10, j);
            o10_0 = step4(w10, v.low, o10_0); o10_1 = step4(w10, v.high, o10_1);
            let w11 = subgroupShuffle(s11, j);
            o11_0 = step4(w11, v.low, o11_0); o11_1 = step4(w11, v.high, o11_1);
            let w12 = subgroupShuffle(s12, j);
            o12_0 = step4(w12, v.low, o12_0); o12_1 = step4(w12, v.high, o12_1);
            let w13 = subgroupShuffle(s13, j);
            o13_0 = step4(w13, v.low, o13_0); o13_1 = step4(w13, v.high, o13_1);
            let w14 = subgroupShuffle(s14, j);
            o14_0 = step4(w14, v.low, o14_0); o14_1 = step4(w14, v.high, o14_1);
            let w15 = subgroupShuffle(s15, j);
            o15_0 = step4(w15, v.low, o15_0); o15_1 = step4(w15, v.high, o15_1);
            let w16 = subgroupShuffle(s16, j);
            o16_0 = step4(w16, v.low, o16_0); o16_1 = step4(w16, v.high, o16_1);
            let w17 = subgroupShuffle(s17, j);
            o17_0 = step4(w17, v.low, o17_0); o17_1 = step4(w17, v.high, o17_1);
            let w18 = subgroupShuffle(s18, j);
            o18_0 = step4(w18, v.low, o18_0); o18_1 = step4(w18, v.high, o18_1);
            let w19 = subgroupShuffle(s19, j);
            o19_0 = step4(w19, v.low, o19_0); o19_1 = step4(w19, v.high, o19_1);
            let w20 = subgroupShuffle(s20, j);
            o20_0 = step4(w20, v.low, o20_0); o20_1 = step4(w20, v.high, o20_1);
            let w21 = subgroupShuffle(s21, j);
            o21_0 = step4(w21, v.low, o21_0); o21_1 = step4(w21, v.high, o21_1);
            let w22 = subgroupShuffle(s22, j);
            o22_0 = step4(w22, v.low, o22_0); o22_1 = step4(w22, v.high, o22_1);
            let w23 = subgroupShuffle(s23, j);
            o23_0 = step4(w23, v.low, o23_0); o23_1 = step4(w23, v.high, o23_1);
            let w24 = subgroupShuffle(s24, j);
            o24_0 = step4(w24, v.low, o24_0); o24_1 = step4(w24, v.high, o24_1);
            let w25 = subgroupShuffle(s25, j);
            o25_0 = step4(w25, v.low, o25_0); o25_1 = step4(w25, v.high, o25_1);
            let w26 = subgroupShuffle(s26, j);
            o26_0 = step4(w26, v.low, o26_0); o26_1 = step4(w26, v.high, o26_1);
            let w27 = subgroupShuffle(s27, j);
            o27_0 = step4(w27, v.low, o27_0); o27_1 = step4(w27, v.high, o27_1);
            let w28 = subgroupShuffle(s28, j);
            o28_0 = step4(w28, v.low, o28_0); o28_1 = step4(w28, v.high, o28_1);
            let w29 = subgroupShuffle(s29, j);
            o29_0 = step4(w29, v.low, o29_0); o29_1 = step4(w29, v.high, o29_1);
            let w30 = subgroupShuffle(s30, j);
            o30_0 = step4(w30, v.low, o30_0); o30_1 = step4(w30, v.high, o30_1);
            let w31 = subgroupShuffle(s31, j);
            o31_0 = step4(w31, v.low, o31_0); o31_1 = step4(w31, v.high, o31_1);
        }
    }

    let weight_a = select(1.0, params.weight_a, SUM != 0u);
    let weight_b = select(1.0, select(params.weight_a, params.weight_b, two), SUM != 0u);
    let share0 = weight_a / total_of(sum0);
    let share1 = weight_a / total_of(sum1);
    let share2 = weight_a / total_of(sum2);
    let share3 = weight_a / total_of(sum3);
    let share4 = weight_b / total_of(sum4);
    let share5 = weight_b / total_of(sum5);
    let share6 = weight_b / total_of(sum6);
    let share7 = weight_b / total_of(sum7);
    parked[0u + lane] = o0_0 * share0.x; parked[8u + lane] = o0_1 * share0.x;
    parked[16u + lane] = o1_0 * share0.y; parked[24u + lane] = o1_1 * share0.y;
    parked[32u + lane] = o2_0 * share0.z; parked[40u + lane] = o2_1 * share0.z;
    parked[48u + lane] = o3_0 * share0.w; parked[56u + lane] = o3_1 * share0.w;
    parked[64u + lane] = o4_0 * share1.x; parked[72u + lane] = o4_1 * share1.x;
    parked[80u + lane] = o5_0 * share1.y; parked[88u + lane] = o5_1 * share1.y;
    parked[96u + lane] = o6_0 * share1.z; parked[104u + lane] = o6_1 * share1.z;
    parked[112u + lane] = o7_0 * share1.w; parked[120u + lane] = o7_1 * share1.w;
    parked[128u + lane] = o8_0 * share2.x; parked[136u + lane] = o8_1 * share2.x;
    parked[144u + lane] = o9_0 * share2.y; parked[152u + lane] = o9_1 * share2.y;
    parked[160u + lane] = o10_0 * share2.z; parked[168u + lane] = o10_1 * share2.z;
    parked[176u + lane] = o11_0 * share2.w; parked[184u + lane] = o11_1 * share2.w;
    parked[192u + lane] = o12_0 * share3.x; parked[200u + lane] = o12_1 * share3.x;
    parked[208u + lane] = o13_0 * share3.y; parked[216u + lane] = o13_1 * share3.y;
    parked[224u + lane] = o14_0 * share3.z; parked[232u + lane] = o14_1 * share3.z;
    parked[240u + lane] = o15_0 * share3.w; parked[248u + lane] = o15_1 * share3.w;
    parked[256u + lane] = o16_0 * share4.x; parked[264u + lane] = o16_1 * share4.x;
    parked[272u + lane] = o17_0 * share4.y; parked[280u + lane] = o17_1 * share4.y;
    parked[288u + lane] = o18_0 * share4.z; parked[296u + lane] = o18_1 * share4.z;
    parked[304u + lane] = o19_0 * share4.w; parked[312u + lane] = o19_1 * share4.w;
    parked[320u + lane] = o20_0 * share5.x; parked[328u + lane] = o20_1 * share5.x;
    parked[336u + lane] = o21_0 * share5.y; parked[344u + lane] = o21_1 * share5.y;
    parked[352u + lane] = o22_0 * share5.z; parked[360u + lane] = o22_1 * share5.z;
    parked[368u + lane] = o23_0 * share5.w; parked[376u + lane] = o23_1 * share5.w;
    parked[384u + lane] = o24_0 * share6.x; parked[392u + lane] = o24_1 * share6.x;
    parked[400u + lane] = o25_0 * share6.y; parked[408u + lane] = o25_1 * share6.y;
    parked[416u + lane] = o26_0 * share6.z; parked[424u + lane] = o26_1 * share6.z;
    parked[432u + lane] = o27_0 * share6.w; parked[440u + lane] = o27_1 * share6.w;
    parked[448u + lane] = o28_0 * share7.x; parked[456u + lane] = o28_1 * share7.x;
    parked[464u + lane] = o29_0 * share7.y; parked[472u + lane] = o29_1 * share7.y;
    parked[480u + lane] = o30_0 * share7.z; parked[488u + lane] = o30_1 * share7.z;
    parked[496u + lane] = o31_0 * share7.w; parked[504u + lane] = o31_1 * share7.w;
    let first_a = start * params.width4 + head;
    let first_b = first_a + select(0u, params.rows * params.width4, two);
    let added = SUM != 0u && two;
    for (var row = 0u; row < select(32u, 16u, added); row += 1u) {
        let at = row * 16u + lane;
        var v0 = parked[at];
        var v1 = parked[at + 8u];
        if (added) {
            v0 += parked[at + 256u];
            v1 += parked[at + 264u];
        }
        let lower = row >= 16u;
        let first = select(first_a, first_b, lower);
        let query = select(query0, query16, lower) + row % 16u;
        store(first, query, len, column, v0);
        store(first, query, len, column + 1u, v1);
    }
}
