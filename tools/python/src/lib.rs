//! farout's metrics for Python: NumPy arrays in, dictionaries out.

use farout::eval::metrics::smiyc::{Judge, Track};
use farout::eval::metrics::{BootstrapSettings, Counts, Limits, Pooled, Pro, ProImage};
use farout::eval::truth::{ANOMALY, NORMAL, Truth, VOID};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods as _};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyIterator;

/// Scores of an image, lent by NumPy.
enum Scores<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    F64(PyReadonlyArrayDyn<'py, f64>),
}

/// An image: scores and truth.
struct Image<'py> {
    number: usize,
    scores: Scores<'py>,
    truth: PyReadonlyArrayDyn<'py, u8>,
}

/// Numbers of an image where they lie.
enum Lent<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

fn wrong(number: usize, why: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("image {number}: {why}"))
}

const CONTIGUOUS: &str = "it is not C-contiguous; pass numpy.ascontiguousarray(...)";

impl<'py> Image<'py> {
    fn of(number: usize, scores: &Bound<'py, PyAny>, truth: &Bound<'py, PyAny>) -> PyResult<Image<'py>> {
        let scores = if let Ok(narrow) = scores.extract() {
            Scores::F32(narrow)
        } else if let Ok(wide) = scores.extract() {
            Scores::F64(wide)
        } else {
            let why = format!("image {number}: scores must be a NumPy array of float32 or float64");
            return Err(PyTypeError::new_err(why));
        };
        let truth = truth.extract().map_err(|_| {
            PyTypeError::new_err(format!("image {number}: truth must be a NumPy array of uint8 (0, 1, 255)"))
        })?;
        Ok(Image { number, scores, truth })
    }

    fn shape(&self) -> &[usize] {
        match &self.scores {
            Scores::F32(scores) => scores.shape(),
            Scores::F64(scores) => scores.shape(),
        }
    }

    /// Scores and labels, which must be of one shape if `same`.
    fn lent(&self, same: bool) -> PyResult<(Lent<'_>, &[u8])> {
        if same && self.shape() != self.truth.shape() {
            let (scores, truth) = (self.shape(), self.truth.shape());
            return Err(wrong(self.number, format!("scores have the shape {scores:?}, truth {truth:?}")));
        }
        let contiguous = |_| wrong(self.number, CONTIGUOUS);
        let scores = match &self.scores {
            Scores::F32(scores) => Lent::F32(scores.as_slice().map_err(contiguous)?),
            Scores::F64(scores) => Lent::F64(scores.as_slice().map_err(contiguous)?),
        };
        let labels = self.truth.as_slice().map_err(contiguous)?;
        match labels.iter().find(|label| ![NORMAL, ANOMALY, VOID].contains(label)) {
            Some(label) => {
                Err(wrong(self.number, format!("truth holds {label}; give 0 normal, 1 anomaly, 255 void")))
            }
            None => Ok((scores, labels)),
        }
    }

    /// Height and width.
    fn sides(&self, shape: &[usize]) -> PyResult<(usize, usize)> {
        match shape {
            [height, width] => Ok((*height, *width)),
            _ => Err(wrong(self.number, format!("the shape is {shape:?}, not (height, width)"))),
        }
    }
}

/// Walks over both, image by image.
fn each<'py>(
    scores: &Bound<'py, PyAny>,
    truth: &Bound<'py, PyAny>,
    mut take: impl FnMut(Image<'py>) -> PyResult<()>,
) -> PyResult<()> {
    let (mut scores, mut truth) = (PyIterator::from_object(scores)?, PyIterator::from_object(truth)?);
    let mut number = 0;
    loop {
        match (scores.next().transpose()?, truth.next().transpose()?) {
            (Some(scores), Some(truth)) => take(Image::of(number, &scores, &truth)?)?,
            (None, None) => return Ok(()),
            _ => {
                return Err(PyValueError::new_err(format!(
                    "scores and truth have not equally many images, from {number} on"
                )));
            }
        }
        number += 1;
    }
}

fn one_class() -> PyErr {
    PyValueError::new_err("the truth has no anomalous or no normal pixel; both are needed")
}

/// All pixels of all images in one list.
#[pyfunction]
fn pooled<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    truth: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut all = Pooled::new(Limits::default());
    each(scores, truth, |image| {
        let (scores, labels) = image.lent(true)?;
        let added = py.detach(|| match scores {
            Lent::F32(scores) => all.add(scores, labels),
            Lent::F64(scores) => all.add(scores, labels),
        });
        added.map_err(|why| wrong(image.number, why))
    })?;
    let judged = py.detach(|| all.detection()).map_err(|why| PyValueError::new_err(why.to_string()))?;
    Ok(pythonize::pythonize(py, &judged.ok_or_else(one_class)?)?)
}

/// AUPRO.
#[pyfunction]
#[pyo3(signature = (scores, truth, *, fpr_limit = 0.3))]
fn regions<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    truth: &Bound<'py, PyAny>,
    fpr_limit: f64,
) -> PyResult<Bound<'py, PyAny>> {
    if !(fpr_limit > 0.0 && fpr_limit <= 1.0) {
        return Err(PyValueError::new_err(format!(
            "fpr_limit is {fpr_limit}; give a rate above 0, at most 1"
        )));
    }
    let mut pro = Pro::new(Limits::default());
    each(scores, truth, |image| {
        let (_, width) = image.sides(image.shape())?;
        let (scores, labels) = image.lent(true)?;
        let added = py.detach(|| {
            let one = match scores {
                Lent::F32(scores) => ProImage::of(Counts::of(scores, labels)?, scores, labels, width),
                Lent::F64(scores) => ProImage::of(Counts::of(scores, labels)?, scores, labels, width),
            };
            pro.push(one)
        });
        added.map_err(|why| wrong(image.number, why))
    })?;
    let judged = py.detach(|| pro.finish(fpr_limit)).map_err(|why| PyValueError::new_err(why.to_string()))?;
    Ok(pythonize::pythonize(py, &judged.ok_or_else(one_class)?)?)
}

/// SegmentMeIfYouCan.
#[pyfunction]
#[pyo3(signature = (scores, truth, *, track = "anomaly"))]
fn smiyc<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    truth: &Bound<'py, PyAny>,
    track: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let track = match track {
        "anomaly" => Track::Anomaly,
        "obstacle" => Track::Obstacle,
        other => return Err(PyValueError::new_err(format!("track is {other:?}; give anomaly or obstacle"))),
    };
    let mut judge = Judge::new(track, Limits::default());
    each(scores, truth, |image| {
        let (height, width) = image.sides(image.shape())?;
        let (true_height, true_width) = image.sides(image.truth.shape())?;
        let (scores, labels) = image.lent(false)?;
        let truth = Truth { width: true_width, height: true_height, labels: labels.to_vec() };
        let name = format!("image {}", image.number);
        let added = py.detach(|| match scores {
            Lent::F32(scores) => judge.push(&name, (width, height), scores, &truth),
            Lent::F64(scores) => {
                let narrow: Vec<f32> = scores.iter().map(|score| *score as f32).collect();
                judge.push(&name, (width, height), &narrow, &truth)
            }
        });
        added.map_err(|why| wrong(image.number, why))
    })?;
    let settings = BootstrapSettings { replicates: 0, ..BootstrapSettings::default() };
    let judged =
        py.detach(|| judge.finish(&settings)).map_err(|why| PyValueError::new_err(why.to_string()))?;
    Ok(pythonize::pythonize(py, &judged.ok_or_else(one_class)?)?)
}

/// The module.
#[pymodule]
fn _farout_metrics(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(pooled, module)?)?;
    module.add_function(wrap_pyfunction!(regions, module)?)?;
    module.add_function(wrap_pyfunction!(smiyc, module)?)
}
