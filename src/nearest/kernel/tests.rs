//! Each kernel of this machine against plain arithmetic.

use super::*;
use crate::nearest::backend::Backend;

/// Whole numbers within plus and minus `limit`, the ends among them, the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, limit: i32) -> i32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wide = (self.0 >> 33) as i32 % (2 * limit + 20) - limit - 10;
        wide.clamp(-limit, limit)
    }

    fn floats<const N: usize>(&mut self) -> [f32; N] {
        std::array::from_fn(|_| self.next(1000) as f32 / 256.0)
    }
}

fn kernels() -> Vec<(&'static str, &'static Kernel)> {
    let found = Backend::ALL.into_iter().filter_map(|b| b.kernel().ok().map(|k| (b.name(), k)));
    let found: Vec<_> = found.collect();
    assert!(found.iter().any(|(name, _)| *name == "portable"));
    eprintln!("kernels of this machine: {:?}", found.iter().map(|f| f.0).collect::<Vec<_>>());
    found
}

#[test]
fn products_and_hits_are_those_of_plain_arithmetic() {
    let mut wrong = Vec::new();
    for (name, kernel) in kernels() {
        for (steps, extreme) in [(1, None), (2, None), (6, None), (20, Some(1)), (20, Some(-1))] {
            let width = steps * kernel.step;
            let mut numbers = Numbers(steps as u64);
            let limit = kernel.limit as i32;
            // Numbers all of one sign and size are what overflows first.
            let mut number = |limit: i32, sign: i32| match extreme {
                Some(_) => sign * limit,
                None => numbers.next(limit),
            };
            let rows: Vec<Vec<i32>> =
                (0..BLOCK).map(|_| (0..width).map(|_| number(limit, 1)).collect()).collect();
            let sign = extreme.unwrap_or(1);
            let patches: Vec<Vec<i32>> =
                (0..kernel.strip).map(|_| (0..width).map(|_| number(limit, sign)).collect()).collect();
            let mut packed = vec![0u8; width * BLOCK];
            for (r, row) in rows.iter().enumerate() {
                for (c, x) in row.iter().enumerate() {
                    packed[(c / 4 * BLOCK + r) * 4 + c % 4] = (*x as u8).wrapping_add(kernel.bias);
                }
            }
            let (scales, squares, tails, slacks) =
                (numbers.floats(), numbers.floats(), numbers.floats(), numbers.floats());
            let block = Block {
                numbers: &packed,
                scales: &scales,
                squares: &squares,
                tails: &tails,
                slacks: &slacks,
            };
            let terms: Vec<Terms> = patches
                .iter()
                .map(|patch| {
                    let [scale, tail, slack, bar] = numbers.floats();
                    let start = -i32::from(kernel.bias) * patch.iter().sum::<i32>();
                    Terms { scale: scale / width as f32, tail, slack, bar: bar * 100.0, start }
                })
                .collect();
            let flat: Vec<i8> = patches.iter().flatten().map(|x| *x as i8).collect();
            let strip = Strip { numbers: &flat, terms: &terms };
            let mut hits = Hits::new();
            hits.products.fill(i32::MIN);
            // SAFETY: the kernel was given out for this machine.
            let any = unsafe {
                (kernel.begin)();
                let any = (kernel.screen)(&block, &strip, &mut hits);
                (kernel.end)();
                any
            };
            let mut expected_any = false;
            for (q, patch) in patches.iter().enumerate() {
                for (r, row) in rows.iter().enumerate() {
                    let product: i32 = row.iter().zip(patch).map(|(a, b)| a * b).sum();
                    let terms = &terms[q];
                    let parts = [
                        f64::from(squares[r]),
                        f64::from(terms.scale) * f64::from(scales[r]) * f64::from(product),
                        f64::from(terms.tail) * f64::from(tails[r]),
                        f64::from(terms.slack) * f64::from(slacks[r]),
                    ];
                    let sum: f64 = parts.iter().sum();
                    let size: f64 = parts.iter().map(|p| p.abs()).sum();
                    let hit = any && hits.rows[q] >> r & 1 == 1;
                    let expected = sum <= f64::from(terms.bar);
                    expected_any |= expected;
                    let near = (sum - f64::from(terms.bar)).abs() < 1e-6 * size;
                    if hit != expected && !near {
                        wrong.push(format!("{name}, {width} wide: patch {q}, row {r}: hit {hit}, {sum}"));
                    }
                    if hit && hits.products[q * BLOCK + r] != product {
                        let got = hits.products[q * BLOCK + r];
                        wrong.push(format!("{name}, {width} wide: patch {q}, row {r}: {got}, not {product}"));
                    }
                }
            }
            assert!(expected_any, "{name}: this case is meant to have hits");
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn nothing_is_beyond_nan_and_everything_beyond_minus_infinity() {
    for (name, kernel) in kernels() {
        let packed = vec![kernel.bias; kernel.step * BLOCK];
        let (zeros, numbers) = ([0.0; BLOCK], vec![0; kernel.strip * kernel.step]);
        for (square, bar, expected) in
            [(f32::NAN, 1.0, true), (1.0, f32::NEG_INFINITY, false), (f32::INFINITY, 1e30, false)]
        {
            let squares = [square; BLOCK];
            let block =
                Block { numbers: &packed, scales: &zeros, squares: &squares, tails: &zeros, slacks: &zeros };
            let terms = vec![Terms { bar, ..Terms::default() }; kernel.strip];
            let mut hits = Hits::new();
            // SAFETY: the kernel was given out for this machine.
            let any = unsafe {
                (kernel.begin)();
                let any = (kernel.screen)(&block, &Strip { numbers: &numbers, terms: &terms }, &mut hits);
                (kernel.end)();
                any
            };
            assert_eq!(any, expected, "{name}, {square} against {bar}");
            if expected {
                assert!(hits.rows[..kernel.strip].iter().all(|rows| *rows == u64::MAX), "{name}");
            }
        }
    }
}

#[test]
fn rest_products_and_distances_are_those_of_plain_arithmetic() {
    for (name, kernel) in kernels() {
        for width in [0, 64, 320] {
            for extreme in [None, Some(1), Some(-1)] {
                let mut numbers = Numbers(width as u64 + 1);
                let mut number = |limit: i32, sign: i32| match extreme {
                    Some(_) => sign * limit,
                    None => numbers.next(limit),
                };
                let limit = kernel.limit as i32;
                let row: Vec<i32> = (0..width).map(|_| number(limit, 1)).collect();
                let patch: Vec<i32> = (0..width).map(|_| number(limit, extreme.unwrap_or(1))).collect();
                let product: i32 = row.iter().zip(&patch).map(|(a, b)| a * b).sum();
                let bias = i32::from(kernel.rest_bias) * patch.iter().sum::<i32>();
                let row: Vec<u8> = row.iter().map(|x| (*x as u8).wrapping_add(kernel.rest_bias)).collect();
                let patch: Vec<i8> = patch.iter().map(|x| *x as i8).collect();
                // SAFETY: the kernel was given out for this machine.
                assert_eq!(unsafe { (kernel.dot)(&row, &patch) } - bias, product, "{name}, {width} wide");
            }
        }
        for width in [1, 15, 16, 37, 384] {
            let mut numbers = Numbers(width as u64);
            let (a, b): (Vec<f32>, Vec<f32>) = (0..width)
                .map(|_| (numbers.next(4000) as f32 / 77.0, numbers.next(4000) as f32 / 1024.0))
                .unzip();
            let halves: Vec<f16> = b.iter().map(|x| f16::from_f32(*x)).collect();
            let plain = |b: &dyn Fn(usize) -> f64| -> f64 {
                (0..width).map(|i| (f64::from(a[i]) - b(i)).powi(2)).sum()
            };
            let singles = plain(&|i| f64::from(b[i]));
            let doubles = plain(&|i| f64::from(halves[i].to_f32()));
            // SAFETY: the kernel was given out for this machine.
            let (got32, got16) =
                unsafe { ((kernel.distance_f32)(&a, &b), (kernel.distance_f16)(&a, &halves)) };
            assert!((got32 - singles).abs() <= 1e-13 * singles, "{name}, {width} wide: {got32}, {singles}");
            assert!((got16 - doubles).abs() <= 1e-13 * doubles, "{name}, {width} wide: {got16}, {doubles}");
        }
    }
}
