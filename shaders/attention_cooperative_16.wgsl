// Softmax attention by cooperative matrices of 16 x 16 x 16. See attention.wgsl for what it computes and for its lists of work.
//
// Tensor cores and their like. 128 threads own 32 rows of one head and up to 64 channels: 32 queries, or 16 queries by both paths, path
// B's below path A's. They walk twice over the keys, 32 at a time. Elements of a cooperative matrix cannot be reached, so sums cannot
// be rescaled when a larger score turns up; therefore
//   1. the first walk leaves each row's largest score and the sum of its exponentials,
//   2. the second makes the scores again, and from them probabilities that need no correction, times the values.
// That is half as many products again, on units that make a product in no time, and nothing is kept but 32 rows of sums.
//
// Scores are f32; queries, keys and values are f16 as stored, so the op takes this kernel only where activations are. Probabilities
// are rounded to f16: 2^-12 of each.
//
// 32 rows by 32 keys of scores are four parts of 16 x 16, a subgroup for each; 32 rows by 64 channels of sums are eight, two for each.
// Subgroups of 64 lanes are half as many and make the second walk twice. Operands go through workgroup memory, zeros beyond the last
// channel. 15.5 KiB.
//
// family: attention
// needs: cooperative_16
// include: common/attention_operands.wgsl
// include: common/attention_fours.wgsl
// include: common/act_{f32,f16}.wgsl

const ROW: u32 = 40u;          // halves per row of 32: eight more spread the banks
const VALUE_ROW: u32 = 72u;    // of 64
const SCORE_ROW: u32 = 36u;    // floats per row of 32
const KEYS_A: u32 = 1280u;     // where keys lie in `tile`
const KEYS_B: u32 = 2560u;

var<workgroup> tile: array<f16, 3840>;         // [32 rows, 32 channels] of queries, of keys, of path B's; or values [32 keys, 64 channels]
var<workgroup> score: array<f32, 1152>;        // [32 rows, 32 keys]; at the end sums [4 parts, 16, 16]
var<workgroup> probability: array<f16, 1280>;  // [32 rows, 32 keys]
var<workgroup> largest: array<f32, 128>;       // of a quarter of a row's keys
var<workgroup> total: array<f32, 128>;

// What the workgroup does.
struct Work {
    start: u32,    // first row of the sequence
    len: u32,
    list: u32,     // where the keys of a trie lie
    query0: u32,
    limit: u32,    // keys that some row sees
    bias0: u32,
    head: u32,     // first column / 4
    two: bool,
}

// A key's row; behind the last one some row that is there.
fn key_row(w: Work, key: u32) -> u32 {
    return key_rows(w.start, w.len, w.list, min(key, w.limit - 1u) / 4u * 4u)[key % 4u];
}

fn query_of(w: Work, row: u32) -> u32 {
    return w.query0 + select(row, row % 16u, w.two);
}

fn put_halves(at: u32, v: vec4<f32>) {
    tile[at + 0u] = f16(v.x);
    tile[at + 1u] = f16(v.y);
    tile[at + 2u] = f16(v.z);
    tile[at + 3u] = f16(v.w);
}

fn put_probabilities(at: u32, p: vec4<f32>) {
    probability[at + 0u] = f16(p.x);
    probability[at + 1u] = f16(p.y);
    probability[at + 2u] = f16(p.z);
    probability[at + 3u] = f16(p.w);
}

// Channels 4 c to 4 c + 31 of the 32 rows' queries and of 32 keys, for both paths if there are two.
fn load_channels(w: Work, thread: u32, key0: u32, c: u32) {
    for (var i = thread; i < select(512u, 768u, w.two); i += 128u) {
        let line = i / 8u % 32u;
        let column = c + i % 8u;
        var row = w.start + min(query_of(w, line), w.len - 1u);
        var part = select(params.a_query, params.b_query, w.two && line >= 16u);
        if (i >= 256u) {
            row = key_row(w, key0 + line);
            part = select(params.a_key, params.b_key, i >= 512u);
        }
        var v = vec4<f32>(0.0);
        if (column < params.head4) {
            v = load(row * params.stride4 + part * params.width4 + w.head + column);
        }
        let at = i / 256u * KEYS_A + line * ROW + i % 8u * 4u;
        put_halves(at, v);
    }
}

// 64 channels of the values of 32 keys.
fn load_values(w: Work, thread: u32, key0: u32, column0: u32) {
    for (var i = thread; i < 512u; i += 128u) {
        let line = i / 16u;
        let column = column0 + i % 16u;
        var v = vec4<f32>(0.0);
        if (column < params.head4) {
            v = load_value(key_row(w, key0 + line) * params.value_stride4 + params.value_at4 + w.head + column);
        }
        let at = line * VALUE_ROW + i % 16u * 4u;
        put_halves(at, v);
    }
}

// Dot products of all rows with 32 keys, into `score`.
fn multiply_keys(w: Work, thread: u32, subgroup: u32, subgroups: u32, key0: u32) {
    for (var first = 0u; first < 4u; first += subgroups) {
        // Every subgroup multiplies, as uniform control flow wants it: one too many makes the last part again.
        let part = min(first + subgroup, 3u);
        let rows = part / 2u * 16u * ROW;
        let keys = select(KEYS_A, KEYS_B, w.two && part >= 2u) + part % 2u * 16u * ROW;
        var sum = coop_mat16x16<f32, C>();
        for (var c = 0u; c < params.head4; c += 8u) {
            load_channels(w, thread, key0, c);
            workgroupBarrier();
            for (var step = 0u; step < 32u; step += 16u) {
                let q = coopLoadT<coop_mat16x16<f16, A>>(&tile[rows + step], ROW);
                let k = coopLoad<coop_mat16x16<f16, B>>(&tile[keys + step], ROW);
                sum = coopMultiplyAdd(q, k, sum);
            }
            workgroupBarrier();
        }
        let at = part / 2u * 16u * SCORE_ROW + part % 2u * 16u;
        let width = SCORE_ROW;
        coopStoreT(sum, &score[at], width);
    }
    workgroupBarrier();
}

// Scores of row thread / 4 against four keys of those in `score`, those it may not see masked.
fn four_scores(w: Work, thread: u32, key0: u32, four: u32) -> vec4<f32> {
    let row = thread / 4u;
    let query = query_of(w, row);
    let key = key0 + four * 4u;
    let at = row * SCORE_ROW + four * 4u;
    let products = vec4<f32>(score[at], score[at + 1u], score[at + 2u], score[at + 3u]);
    let s = scores_of(products, w.bias0 + min(query, w.len - 1u), key / 4u);
    var rows = vec4<u32>(0u);
    var ends = vec4<u32>(0u);
    if (TRIE != 0u) {
        let place = w.list + min(key, w.limit - 1u) / 4u * 2u;
        rows = tiles[place];
        ends = tiles[place + 1u];
    }
    // Behind the last four of a trie their repetition is hidden, too.
    let hidden = hidden_from(query, w.len, key, rows, ends) | vec4<bool>(key >= w.limit);
    return select(s, vec4<f32>(MASKED), hidden);
}

// Stores `count` parts of the sums, from `first` on, that lie in `score`.
fn finish(w: Work, thread: u32, column0: u32, first: u32, count: u32) {
    for (var i = thread; i < count * 64u; i += 128u) {
        let part = first + i / 64u;
        let row = i / 4u % 16u;
        let at = part % 4u * 256u + row * 16u + i % 4u * 4u;
        let sums = vec4<f32>(score[at], score[at + 1u], score[at + 2u], score[at + 3u]);
        let path = select(0u, part / 4u, w.two);
        let query = w.query0 + row + select(part / 4u * 16u, 0u, w.two);
        let to = (w.start + path * params.rows) * params.width4 + w.head;
        store(to, query, w.len, column0 + part % 4u * 4u + i % 4u, sums);
    }
}

fn largest_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) lanes: u32) {
    let subgroups = 128u / lanes;
    let entry = tiles[group.x];
    let two = params.paths == 2u;
    let query0 = entry.z;
    let len = entry.y;
    // Keys beyond the last query of a causal tile are never seen.
    let seen = select(len, min(len, query0 + select(32u, 16u, two)), params.causal != 0u);
    let w = Work(
        select(entry.x, 0u, TRIE != 0u), len, entry.x, query0, select(seen, entry.w, TRIE != 0u),
        select(0u, entry.w * params.bias_rows, BIAS != 0u), group.y * params.head4, two);

    // Four threads share a row, each eight of 32 keys.
    let four0 = thread % 4u * 2u;
    var high = MASKED;
    var sum = 0.0;
    for (var key0 = 0u; key0 < w.limit; key0 += 32u) {
        multiply_keys(w, thread, subgroup, subgroups, key0);
        let s0 = four_scores(w, thread, key0, four0);
        let s1 = four_scores(w, thread, key0, four0 + 1u);
        let before = high;
        high = max(high, largest_of(max(s0, s1)));
        let p = exp(s0 - high) + exp(s1 - high);
        sum = sum * exp(before - high) + p.x + p.y + p.z + p.w;
        workgroupBarrier();
    }
    largest[thread] = high;
    total[thread] = sum;
    workgroupBarrier();
    let quarter = thread / 4u * 4u;
    let highs = vec4<f32>(largest[quarter], largest[quarter + 1u], largest[quarter + 2u], largest[quarter + 3u]);
    let totals = vec4<f32>(total[quarter], total[quarter + 1u], total[quarter + 2u], total[quarter + 3u]);
    let row_high = largest_of(highs);
    let weight = select(params.weight_a, params.weight_b, two && thread >= 64u);
    let share = select(1.0, weight, SUM != 0u) / dot(totals, exp(highs - row_high));

    // Parts of the sums: 16 rows by 16 channels, four beside each other, path B's (or the second 16 queries') below, two for each
    // subgroup at a time. Of two paths to be added up there are only the upper four, and they take both.
    let added = SUM != 0u && two;
    let parts = select(8u, 4u, added);
    for (var first = 0u; first < parts; first += 2u * subgroups) {
        let part0 = min(first + subgroup, 7u);
        let part1 = min(first + subgroups + subgroup, 7u);
        var o0 = coop_mat16x16<f32, C>(); var o1 = coop_mat16x16<f32, C>();
        for (var key0 = 0u; key0 < w.limit; key0 += 32u) {
            multiply_keys(w, thread, subgroup, subgroups, key0);
            let p0 = exp(four_scores(w, thread, key0, four0) - row_high) * share;
            let p1 = exp(four_scores(w, thread, key0, four0 + 1u) - row_high) * share;
            let at = thread / 4u * ROW + four0 * 4u;
            put_probabilities(at, p0);
            put_probabilities(at + 4u, p1);
            load_values(w, thread, key0, group.z * 16u);
            workgroupBarrier();
            for (var path = 0u; path < select(1u, 2u, added); path += 1u) {
                let rows0 = min(part0 / 4u + path, 1u) * 16u * ROW;
                let rows1 = min(part1 / 4u + path, 1u) * 16u * ROW;
                for (var step = 0u; step < 32u; step += 16u) {
                    let w0 = coopLoadT<coop_mat16x16<f16, A>>(&probability[rows0 + step], ROW);
                    let v0 = coopLoadT<coop_mat16x16<f16, B>>(&tile[step * VALUE_ROW + part0 % 4u * 16u], VALUE_ROW);
                    o0 = coopMultiplyAdd(w0, v0, o0);
                    let w1 = coopLoadT<coop_mat16x16<f16, A>>(&probability[rows1 + step], ROW);
                    let v1 = coopLoadT<coop_mat16x16<f16, B>>(&tile[step * VALUE_ROW + part1 % 4u * 16u], VALUE_ROW);
                    o1 = coopMultiplyAdd(w1, v1, o1);
                }
            }
            workgroupBarrier();
        }
        // Through memory to ordinary threads: each subgroup's first part, then its second.
        let width = 16u;
        let mine0 = part0 % 4u * 256u;
        let mine1 = part1 % 4u * 256u;
        coopStoreT(o0, &score[mine0], width);
        workgroupBarrier();
        finish(w, thread, group.z * 16u, first, min(subgroups, parts - first));
        workgroupBarrier();
        coopStoreT(o1, &score[mine1], width);
        workgroupBarrier();
        let second = min(first + subgroups, parts);
        finish(w, thread, group.z * 16u, second, min(subgroups, parts - second));
        workgroupBarrier();
    }
}
