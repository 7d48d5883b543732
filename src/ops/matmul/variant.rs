//! The kernels behind `matmul`: what each makes per workgroup, and where it can run.

use crate::gpu::Caps;
use crate::gpu::kernel::{Kernel, Need, kernels};
use crate::shape::DType;

/// One kernel of the family.
#[derive(Debug)]
pub struct Variant {
    /// The kernel; all of them have the operands of `common/matmul_operands.wgsl`.
    pub kernel: &'static Kernel,
    tile: Tile,
    /// What N, K, the row length of x and its first column must be multiples of.
    step: u32,
}

/// What one workgroup makes, as in the WGSL.
#[derive(Debug)]
enum Tile {
    /// As `tiling` says.
    Lanes,
    /// So many rows and columns.
    Fixed([u32; 2]),
}

static VARIANTS: [Variant; 10] = [
    Variant { kernel: &kernels::matmul::KERNEL, tile: Tile::Lanes, step: 4 },
    Variant { kernel: &kernels::matmul_register_8x8::KERNEL, tile: Tile::Fixed([32, 64]), step: 4 },
    Variant { kernel: &kernels::matmul_register_8x16::KERNEL, tile: Tile::Fixed([32, 128]), step: 4 },
    Variant { kernel: &kernels::matmul_subgroup_16x4::KERNEL, tile: Tile::Fixed([16, 128]), step: 4 },
    Variant { kernel: &kernels::matmul_subgroup_25x4::KERNEL, tile: Tile::Fixed([25, 128]), step: 4 },
    Variant { kernel: &kernels::matmul_subgroup_50x8::KERNEL, tile: Tile::Fixed(SUBGROUP_TILE), step: 8 },
    Variant { kernel: &kernels::matmul_workgroup_64::KERNEL, tile: Tile::Fixed([64, 64]), step: 4 },
    Variant { kernel: &kernels::matmul_workgroup_128::KERNEL, tile: Tile::Fixed([128, 128]), step: 4 },
    Variant { kernel: &kernels::matmul_cooperative_16::KERNEL, tile: Tile::Fixed([64, 64]), step: 4 },
    Variant { kernel: &kernels::matmul_cooperative_8::KERNEL, tile: Tile::Fixed([64, 64]), step: 4 },
];

/// Rows and columns of the 8 threads of `common/subgroup_tile_50x8.wgsl`.
pub(in crate::ops) const SUBGROUP_TILE: [u32; 2] = [50, 64];

/// Rows and columns of one thread of `matmul` and `conv3x3`, and threads of a workgroup.
const ROWS: u32 = 25;
const COLUMNS: u32 = 16;
const LANES: u32 = 8;

/// Every kernel of the family; the first runs on every device.
pub fn variants() -> &'static [Variant] {
    &VARIANTS
}

impl Variant {
    /// The variant of a kernel's name.
    pub(super) fn of(kernel: &Kernel) -> Option<&'static Variant> {
        VARIANTS.iter().find(|v| v.kernel == kernel)
    }

    /// True if the device has what the kernel needs, and the kernel multiplies these element types without rounding them. N, K,
    /// the row length of x and its first column are multiples of `unit`, some power of two.
    pub fn runs(&self, caps: &Caps, act: DType, weight: DType, unit: u32) -> bool {
        let met = self.kernel.need.is_none_or(|need| need.met(caps)) && unit.is_multiple_of(self.step);
        met && (self.kernel.need != Some(Need::Cooperative16) || (act == DType::F16 && weight != DType::F32))
    }

    /// Workgroups of an `[M, N]` product.
    pub fn workgroups(&self, m: u32, n: u32) -> [u32; 3] {
        self.grid(m, n, 1).1
    }

    /// How the threads of a workgroup lie (only one kernel asks), and the workgroups of an `[M, N]` product.
    pub(super) fn grid(&self, m: u32, n: u32, slices: u32) -> (u32, [u32; 3]) {
        match self.tile {
            Tile::Lanes => {
                let (lanes_n, [x, y, _]) = tiling(m, n);
                (lanes_n, [x, y, slices])
            }
            Tile::Fixed([rows, columns]) => (0, [n.div_ceil(columns), m.div_ceil(rows), slices]),
        }
    }
}

/// The power of two that all of these are multiples of.
pub fn unit(sides: impl IntoIterator<Item = u32>) -> u32 {
    1 << sides.into_iter().fold(0, |all, side| all | side).trailing_zeros().min(31)
}

/// How the threads of a workgroup lie over an `[M, N]` product: so many side by side in N, and the workgroups. The widest
/// arrangement with the fewest workgroups: 8 for most layers, fewer where N is small.
pub(in crate::ops) fn tiling(m: u32, n: u32) -> (u32, [u32; 3]) {
    let groups = |lanes_n: u32| [n.div_ceil(COLUMNS).div_ceil(lanes_n), m.div_ceil(ROWS).div_ceil(LANES / lanes_n), 1];
    let count = |lanes_n: &u32| {
        let [x, y, _] = groups(*lanes_n);
        u64::from(x) * u64::from(y)
    };
    // The first of equals.
    let lanes_n = [8, 4, 2, 1].into_iter().min_by_key(count).unwrap_or(LANES);
    (lanes_n, groups(lanes_n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_cover_the_product() {
        for (m, n, lanes) in [(50, 768, 8), (197, 3072, 8), (3136, 64, 4), (12544, 32, 2), (100, 96, 2), (1, 4, 8), (49, 2048, 8)] {
            let (lanes_n, [x, y, z]) = tiling(m, n);
            assert_eq!((lanes_n, z), (lanes, 1), "[{m}, {n}]");
            assert!(x * lanes_n * COLUMNS >= n && y * (LANES / lanes_n) * ROWS >= m, "[{m}, {n}]");
        }
    }

    #[test]
    fn the_list_is_the_family() {
        let family = |k: &&&Kernel| k.family == kernels::matmul::KERNEL.name;
        for kernel in kernels::ALL.iter().filter(family) {
            assert!(Variant::of(kernel).is_some(), "{} is not in VARIANTS", kernel.name);
        }
        assert_eq!(kernels::ALL.iter().filter(family).count(), VARIANTS.len());
        assert_eq!(VARIANTS[0].kernel.need, None, "what runs where nothing else does");
    }
}
