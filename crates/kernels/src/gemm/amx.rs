//! bf16 products in the tile registers of AMX: sixteen rows by sixteen columns and 32 values of k an instruction, eight
//! to sixteen times what AVX512-BF16 multiplies in a cycle.
//!
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18,
//! <https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sdm.html>.
//! Its intrinsics are not stable in Rust, so the instructions stand here as they are.
//! An element of a tile sums the products of even k and those of odd k apart, each in the order of k, then adds both to what
//! it holds: neither its place in the tile nor the rows beside it matter.
#![allow(
    unsafe_code,
    reason = "AMX instructions, which have no stable intrinsics; tiles reached through pointers"
)]

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::lanes::prefetch;
use super::tile::{Kernel, Tile};
use crate::cpu::Path;

/// Rows of a tile register, and its columns of 32 bits.
const N: usize = 16;
/// Rows of A and columns of B in one go: two tile registers each, and four hold their products.
const SIDE: usize = 2 * N;
/// Bytes from one row of a tile of A to the next.
const ROW: usize = 4 * N;

/// Values of k handled before C is updated: an A panel and a B panel of them share the first-level cache.
const DEPTH: usize = 384;
/// Panels of B that share one pass over A.
const GROUP: usize = 12;

/// The kernel, for a CPU for which [`available`] says yes.
pub(super) fn kernel() -> Kernel {
    Kernel {
        path: Path::Avx512,
        height: SIDE,
        width: SIDE,
        lanes: N,
        tiles: TILES,
        rows: None,
        pair: 2,
        depth: DEPTH,
        grain: N,
        group: GROUP,
        tiled: true,
    }
}

/// Whether this process may use the tile registers for bf16: the CPU has them and the system has granted them.
///
/// The first call asks the system, for all threads of the process.
pub(crate) fn available() -> bool {
    static GRANTED: OnceLock<bool> = OnceLock::new();
    *GRANTED.get_or_init(|| on_this_cpu() && granted())
}

/// CPUID, leaf 7: AMX-BF16 and AMX-TILE.
fn on_this_cpu() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (BF16 | TILE) == BF16 | TILE
}

/// Asks Linux for the 8 KiB of state that each thread may need; without this the first tile instruction is a fault.
/// <https://docs.kernel.org/arch/x86/xstate.html>
#[cfg(target_os = "linux")]
fn granted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: a system call with two numbers that touches no memory of ours; it clobbers what is named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn granted() -> bool {
    false
}

/// Tile registers in use by this thread, of sixteen rows of 64 bytes each; given back when dropped, since a thread with
/// live tiles costs 8 KiB at every switch.
pub(super) struct Registers(PhantomData<*const ()>);

impl Registers {
    /// Configures the registers.
    ///
    /// # Safety
    /// [`available`] says yes.
    pub unsafe fn new() -> Self {
        #[repr(C, align(64))]
        struct Config([u8; 64]);
        const CONFIG: Config = {
            let mut bytes = [0; 64];
            bytes[0] = 1;
            let mut tile = 0;
            while tile < 8 {
                bytes[16 + 2 * tile] = ROW as u8;
                bytes[48 + tile] = N as u8;
                tile += 1;
            }
            Config(bytes)
        };
        // SAFETY: reads 64 bytes; the CPU has the registers by the caller's promise.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) CONFIG.0.as_ptr(), options(nostack, readonly, preserves_flags));
        }
        Self(PhantomData)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: they were configured by `new`, on this thread: the type is not `Send`.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) }
    }
}

/// Sums of all four quarters of a tile over `blocks` blocks of sixteen steps, begun with what the registers 0 to 3 hold.
///
/// # Safety
/// Registers are configured; `a` and `b` hold `blocks` blocks of 2 KiB.
#[inline(always)]
unsafe fn sum<const TALL: bool, const WIDE: bool>(blocks: usize, a: *const f32, b: *const f32) {
    if blocks == 0 {
        return;
    }
    macro_rules! run {
        ($($line:literal),+) => {
            // SAFETY: the caller's promise; the loop ends after `blocks` rounds.
            unsafe {
                asm!(
                    "2:",
                    $($line,)+
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "dec {blocks}",
                    "jnz 2b",
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    blocks = inout(reg) blocks => _,
                    a_row = in(reg) ROW,
                    b_row = in(reg) 2 * ROW,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly),
                );
            }
        };
    }
    match (TALL, WIDE) {
        (true, true) => run!(
            "tileloadd tmm6, [{b} + {b_row}*1]",
            "tileloadd tmm4, [{a} + {a_row}*1]",
            "tileloadd tmm7, [{b} + {b_row}*1 + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {a_row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7"
        ),
        (false, true) => run!(
            "tileloadd tmm6, [{b} + {b_row}*1]",
            "tileloadd tmm4, [{a} + {a_row}*1]",
            "tileloadd tmm7, [{b} + {b_row}*1 + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7"
        ),
        (true, false) => run!(
            "tileloadd tmm6, [{b} + {b_row}*1]",
            "tileloadd tmm4, [{a} + {a_row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {a_row}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6"
        ),
        (false, false) => run!(
            "tileloadd tmm6, [{b} + {b_row}*1]",
            "tileloadd tmm4, [{a} + {a_row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6"
        ),
    }
}

/// Fills register `T` with rows of sixteen floats, `stride` bytes apart; 0 gives every row the same.
macro_rules! load {
    ($register:literal, $from:expr, $stride:expr) => {
        asm!(
            concat!("tileloadd tmm", $register, ", [{from} + {stride}*1]"),
            from = in(reg) $from,
            stride = in(reg) $stride,
            options(nostack, readonly, preserves_flags),
        )
    };
}

/// Writes register `T` to rows of sixteen floats, `stride` bytes apart.
macro_rules! store {
    ($register:literal, $to:expr, $stride:expr) => {
        asm!(
            concat!("tilestored [{to} + {stride}*1], tmm", $register),
            to = in(reg) $to,
            stride = in(reg) $stride,
            options(nostack, preserves_flags),
        )
    };
}

/// One tile of `R` rows and `16 W` columns.
///
/// The sums begin with the bias, or with what `c` holds where it is added to.
///
/// # Safety
/// As [`Tile`], and registers are configured.
#[allow(clippy::too_many_arguments)]
unsafe fn tile<const R: usize, const W: usize>(
    steps: usize,
    a: *const f32,
    _: usize,
    b: *const f32,
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    // SAFETY: passed on.
    unsafe {
        match (R > N, W > 1) {
            (true, true) => any::<true, true>(R, steps, a, b, c, stride, bias, add),
            (true, false) => any::<true, false>(R, steps, a, b, c, stride, bias, add),
            (false, true) => any::<false, true>(R, steps, a, b, c, stride, bias, add),
            (false, false) => any::<false, false>(R, steps, a, b, c, stride, bias, add),
        }
    }
}

/// # Safety
/// As [`tile`]; `rows` lie in one or, if `TALL`, two registers.
#[allow(clippy::too_many_arguments)]
unsafe fn any<const TALL: bool, const WIDE: bool>(
    rows: usize,
    steps: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    /// Rows of a whole tile beside each other, where those of C are too few or need two additions.
    #[repr(C, align(64))]
    struct Aside([f32; SIDE * SIDE]);
    let cols = if WIDE { SIDE } else { N };
    let whole = rows.is_multiple_of(N) && (bias.is_null() || !add);
    debug_assert!(steps.is_multiple_of(N), "AMX takes whole blocks");
    // SAFETY: rows and columns of `c` and `bias` by the condition of `Tile`, or inside `aside`.
    unsafe {
        let mut aside = if whole { None } else { Some(Aside([0.0; SIDE * SIDE])) };
        if let (Some(aside), true) = (&mut aside, add) {
            for row in 0..rows {
                for col in 0..cols {
                    let bias = if bias.is_null() { 0.0 } else { *bias.add(col) };
                    aside.0[row * SIDE + col] = *c.add(row * stride + col) + bias;
                }
            }
        }
        let (to, to_stride) = match &mut aside {
            Some(aside) => (aside.0.as_mut_ptr(), SIDE),
            None => (c, stride),
        };
        let bytes = to_stride * size_of::<f32>();
        // Asked for now, C is there when the sums are.
        if whole {
            for row in 0..rows {
                prefetch(c.wrapping_add(row * stride));
                if WIDE {
                    prefetch(c.wrapping_add(row * stride + N));
                }
            }
        }
        let below = to.wrapping_add(N * to_stride);
        let begin = if add {
            Some((to.cast_const(), below.cast_const(), bytes))
        } else if bias.is_null() {
            None
        } else {
            Some((bias, bias, 0))
        };
        match begin {
            Some((top, below, bytes)) => {
                load!("0", top, bytes);
                if WIDE {
                    load!("1", top.wrapping_add(N), bytes);
                }
                if TALL {
                    load!("2", below, bytes);
                }
                if TALL && WIDE {
                    load!("3", below.wrapping_add(N), bytes);
                }
            }
            None => asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, preserves_flags)
            ),
        }
        sum::<TALL, WIDE>(steps / N, a, b);
        store!("0", to, bytes);
        if WIDE {
            store!("1", to.wrapping_add(N), bytes);
        }
        if TALL {
            store!("2", below, bytes);
        }
        if TALL && WIDE {
            store!("3", below.wrapping_add(N), bytes);
        }
        if let Some(aside) = aside {
            for row in 0..rows {
                std::ptr::copy_nonoverlapping(aside.0.as_ptr().add(row * SIDE), c.add(row * stride), cols);
            }
        }
    }
}

/// Tiles by rows - 1 and registers across - 1.
const TILES: &[&[Tile]] = {
    macro_rules! rows {
        ($($rows:literal)*) => { &[$(&[tile::<$rows, 1>, tile::<$rows, 2>]),*] };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
};

/// Multiplies tiles that are in registers `rounds` times, for the peak; how many multiplications that were.
///
/// # Safety
/// [`available`] says yes.
pub(super) unsafe fn spin(rounds: usize) -> usize {
    // SAFETY: the caller's promise; registers alone, zeros.
    unsafe {
        let _registers = Registers::new();
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) rounds.max(1) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    rounds.max(1) * 4 * N * N * 2 * N
}
