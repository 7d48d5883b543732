// y = activation(x w^T + bias) + residual, by cooperative matrices of 8 x 8 x 8
//
// Apple's matrix units, in f32 throughout: any storage, no rounding beyond the sum's. 128 threads make 64 rows by 64 columns,
// in four parts of 32 x 32, a subgroup for each, as in `matmul_cooperative_16`, in steps of 16 along K.
//
// family: matmul
// needs: cooperative_8
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/gelu.wgsl

const STRIDE: u32 = 20u;   // of a row or column in a tile: 16 and 4 to spread banks

var<workgroup> x_tile: array<f32, 1280>;     // [64 rows, 16 of K]
var<workgroup> w_tile: array<f32, 1280>;     // [64 columns, 16 of K]
var<workgroup> sums: array<f32, 1024>;       // [4 parts, 8 rows, 32 columns]

// 16 of K for 64 rows and 64 columns, from step k on; what lies beyond the end is zero.
fn load(thread: u32, first_row: u32, first_column: u32, k: u32, end: u32) {
    for (var i = thread; i < 256u; i += 128u) {
        let line = i / 4u;
        let step = k + i % 4u;
        var a = vec4<f32>(0.0);
        var b = vec4<f32>(0.0);
        if (step < end) {
            a = widen_act(x[x_base(first_row + line) + step]);
            b = widen_weight(weight[min(first_column + line, 4u * params.n4 - 1u) * params.k4 + step]);
        }
        let at = line * STRIDE + i % 4u * 4u;
        x_tile[at + 0u] = a.x;
        x_tile[at + 1u] = a.y;
        x_tile[at + 2u] = a.z;
        x_tile[at + 3u] = a.w;
        w_tile[at + 0u] = b.x;
        w_tile[at + 1u] = b.y;
        w_tile[at + 2u] = b.z;
        w_tile[at + 3u] = b.w;
    }
}

// Stores of `count` parts from `first` on that lie in `sums`: rows from `row`, columns from `column` of each.
fn finish_sums(thread: u32, group: vec3<u32>, first: u32, count: u32, row: u32, column: u32) {
    for (var i = thread; i < count * 64u; i += 128u) {
        let part = first + i / 64u;
        let within = i % 64u;
        let r = group.y * 64u + part / 2u * 32u + row + within / 8u;
        let c = group.x * 16u + part % 2u * 8u + column / 4u + within % 8u;
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
        var acc0_0 = coop_mat8x8<f32, C>(); var acc0_1 = coop_mat8x8<f32, C>(); var acc0_2 = coop_mat8x8<f32, C>(); var acc0_3 = coop_mat8x8<f32, C>();
        var acc1_0 = coop_mat8x8<f32, C>(); var acc1_1 = coop_mat8x8<f32, C>(); var acc1_2 = coop_mat8x8<f32, C>(); var acc1_3 = coop_mat8x8<f32, C>();
        var acc2_0 = coop_mat8x8<f32, C>(); var acc2_1 = coop_mat8x8<f32, C>(); var acc2_2 = coop_mat8x8<f32, C>(); var acc2_3 = coop_mat8x8<f32, C>();
        var acc3_0 = coop_mat8x8<f32, C>(); var acc3_1 = coop_mat8x8<f32, C>(); var acc3_2 = coop_mat8x8<f32, C>(); var acc3_3 = coop_mat8x8<f32, C>();
        for (var k = k_first(group.z); k < end; k += 4u) {
            load(thread, group.y * 64u, group.x * 64u, k, end);
            workgroupBarrier();
            for (var step = 0u; step < 16u; step += 8u) {
                let a0 = coopLoadT<coop_mat8x8<f32, A>>(&x_tile[x_part + 0u * STRIDE + step], STRIDE);
                let a1 = coopLoadT<coop_mat8x8<f32, A>>(&x_tile[x_part + 8u * STRIDE + step], STRIDE);
                let a2 = coopLoadT<coop_mat8x8<f32, A>>(&x_tile[x_part + 16u * STRIDE + step], STRIDE);
                let a3 = coopLoadT<coop_mat8x8<f32, A>>(&x_tile[x_part + 24u * STRIDE + step], STRIDE);
                let b0 = coopLoad<coop_mat8x8<f32, B>>(&w_tile[w_part + 0u * STRIDE + step], STRIDE);
                let b1 = coopLoad<coop_mat8x8<f32, B>>(&w_tile[w_part + 8u * STRIDE + step], STRIDE);
                let b2 = coopLoad<coop_mat8x8<f32, B>>(&w_tile[w_part + 16u * STRIDE + step], STRIDE);
                let b3 = coopLoad<coop_mat8x8<f32, B>>(&w_tile[w_part + 24u * STRIDE + step], STRIDE);
                acc0_0 = coopMultiplyAdd(a0, b0, acc0_0);
                acc0_1 = coopMultiplyAdd(a0, b1, acc0_1);
                acc0_2 = coopMultiplyAdd(a0, b2, acc0_2);
                acc0_3 = coopMultiplyAdd(a0, b3, acc0_3);
                acc1_0 = coopMultiplyAdd(a1, b0, acc1_0);
                acc1_1 = coopMultiplyAdd(a1, b1, acc1_1);
                acc1_2 = coopMultiplyAdd(a1, b2, acc1_2);
                acc1_3 = coopMultiplyAdd(a1, b3, acc1_3);
                acc2_0 = coopMultiplyAdd(a2, b0, acc2_0);
                acc2_1 = coopMultiplyAdd(a2, b1, acc2_1);
                acc2_2 = coopMultiplyAdd(a2, b2, acc2_2);
                acc2_3 = coopMultiplyAdd(a2, b3, acc2_3);
                acc3_0 = coopMultiplyAdd(a3, b0, acc3_0);
                acc3_1 = coopMultiplyAdd(a3, b1, acc3_1);
                acc3_2 = coopMultiplyAdd(a3, b2, acc3_2);
                acc3_3 = coopMultiplyAdd(a3, b3, acc3_3);
            }
            workgroupBarrier();
        }
        // Element access does not exist: the sums go through memory to ordinary threads.
        let busy = min(subgroups, 4u - first);
        let mine = part * 256u;
        let width = 32u;
        let mine1 = mine + 8u;
        let mine2 = mine + 16u;
        let mine3 = mine + 24u;
        coopStoreT(acc0_0, &sums[mine], width);
        coopStoreT(acc0_1, &sums[mine1], width);
        coopStoreT(acc0_2, &sums[mine2], width);
        coopStoreT(acc0_3, &sums[mine3], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 0u, 0u);
        workgroupBarrier();
        coopStoreT(acc1_0, &sums[mine], width);
        coopStoreT(acc1_1, &sums[mine1], width);
        coopStoreT(acc1_2, &sums[mine2], width);
        coopStoreT(acc1_3, &sums[mine3], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 8u, 0u);
        workgroupBarrier();
        coopStoreT(acc2_0, &sums[mine], width);
        coopStoreT(acc2_1, &sums[mine1], width);
        coopStoreT(acc2_2, &sums[mine2], width);
        coopStoreT(acc2_3, &sums[mine3], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 16u, 0u);
        workgroupBarrier();
        coopStoreT(acc3_0, &sums[mine], width);
        coopStoreT(acc3_1, &sums[mine1], width);
        coopStoreT(acc3_2, &sums[mine2], width);
        coopStoreT(acc3_3, &sums[mine3], width);
        workgroupBarrier();
        finish_sums(thread, group, first, busy, 24u, 0u);
        workgroupBarrier();
    }
}
