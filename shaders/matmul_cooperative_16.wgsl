// y = activation(x w^T + bias) + residual, by cooperative matrices of 16 x 16 x 16
//
// Tensor cores and their like. 128 threads make 64 rows by 64 columns, in four parts of 32 x 32, a subgroup for each; with
// fewer subgroups (lanes of 64) the parts are made one after the other, with more some subgroups only carry. Each step
// puts 32 of K into workgroup memory as f16, zeros beyond the edges, so no matrix reads past an end.
//
// Sums are f32. Operands are f16: where x or w is stored as f32 it would be rounded, so the op takes this kernel only if x is
// stored as f16, and w as f16 or as bytes, which f16 holds, too; then products are exact.
//
// Barriers depend on the size of a subgroup: uniform in fact, but not by the rules of browsers, which have none of this.
//
// family: matmul
// needs: cooperative_16
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/gelu.wgsl

const STRIDE: u32 = 40u;   // of a row or column in a tile: 32 and 8 to spread banks

var<workgroup> x_tile: array<f16, 2560>;     // [64 rows, 32 of K]
var<workgroup> w_tile: array<f16, 2560>;     // [64 columns, 32 of K]
var<workgroup> sums: array<f32, 1024>;       // [4 parts, 16 rows, 16 columns]

// 32 of K for 64 rows and 64 columns, from step k on; what lies beyond the end is zero.
fn load(thread: u32, first_row: u32, first_column: u32, k: u32, end: u32) {
    for (var i = thread; i < 512u; i += 128u) {
        let line = i / 8u;
        let step = k + i % 8u;
        var a = vec4<f32>(0.0);
        var b = vec4<f32>(0.0);
        if (step < end) {
            a = widen_act(x[x_base(first_row + line) + step]);
            b = widen_weight(weight[min(first_column + line, 4u * params.n4 - 1u) * params.k4 + step]);
        }
        let at = line * STRIDE + i % 8u * 4u;
        x_tile[at + 0u] = f16(a.x);
        x_tile[at + 1u] = f16(a.y);
        x_tile[at + 2u] = f16(a.z);
        x_tile[at + 3u] = f16(a.w);
        w_tile[at + 0u] = f16(b.x);
        w_tile[at + 1u] = f16(b.y);
        w_tile[at + 2u] = f16(b.z);
        w_tile[at + 3u] = f16(b.w);
    }
}

// Stores of `count` parts from `first` on that lie in `sums`: rows from `row`, columns from `column` of each.
fn finish_sums(thread: u32, group: vec3<u32>, first: u32, count: u32, row: u32, column: u32) {
    for (var i = thread; i < count * 64u; i += 128u) {
        let part = first + i / 64u;
        let within = i % 64u;
        let r = group.y * 64u + part / 2u * 32u + row + within / 4u;
        let c = group.x * 16u + part % 2u * 8u + column / 4u + within % 4u;
        if (r < params.m && c < params.n4) {
            let at = part * 256u + within * 4u;
            put(group.z, r, c, vec4<f32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]));
        }
    }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) lanes: u32) {
    let subgroups = 128u / lanes;
    let end = k_end(group.z);
    for (var first = 0u; first < 4u; first += subgroups) {
        // Every subgroup multiplies, as uniform control flow wants it: one too many makes the last part again.
        let part = min(first + subgroup, 3u);
        let x_part = part / 2u * 32u * STRIDE;
        let w_part = part % 2u * 32u * STRIDE;
        var acc0_0 = coop_mat16x16<f32, C>(); var acc0_1 = coop_mat16x16<f32, C>();
        var acc1_0 = coop_mat16x16<f32, C>(); var acc1_1 = coop_mat16x16<f32, C>();
        for (var k = k_first(group.z); k < end; k += 8u) {
            load(thread, group.y * 64u, group.x * 64u, k, end);
            workgroupBarrier();
            for (var step = 0u; step < 32u; step += 16u) {
                let a0 = coopLoadT<coop_mat16x16<f16, A>>(&x_tile[x_part + 0u * STRIDE + step], STRIDE);
                let a1 = coopLoadT<coop_mat16x16<f16, A>>(&x_tile[x_part + 16u * STRIDE + step], STRIDE);
                let b0 = coopLoad<coop_mat16x16<f16, B>>(&w_tile[w_part + 0u * STRIDE + step], STRIDE);
                let b1 = coopLoad<coop_mat16x16<f16, B>>(&w_tile[w_part + 16u * STRIDE + step], STRIDE);
                acc0_0 = coopMultiplyAdd(a0, b0, acc0_0);
                acc0_1 = coopMultiplyAdd(a0, b1, acc0_1);
                acc1_0 = coopMultiplyAdd(a1, b0, acc1_0);
                acc1_1 = coopMultiplyAdd(a1, b1, acc1_1);
            }
            workgroupBarrier();
        }
        // Element access does not exist: the sums go through memory to ordinary threads.
        let busy = min(subgroups, 4u - first);
        let mine = part * 256u;
        let width = 16u;
        coopStoreT(acc0_0, &sums[mine], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 0u, 0u);
        workgroupBarrier();
        coopStoreT(acc0_1, &sums[mine], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 0u, 16u);
        workgroupBarrier();
        coopStoreT(acc1_0, &sums[mine], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 16u, 0u);
        workgroupBarrier();
        coopStoreT(acc1_1, &sums[mine], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 16u, 16u);
        workgroupBarrier();
    }
}
