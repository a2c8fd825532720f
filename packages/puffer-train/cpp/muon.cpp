// The Newton-Schulz iteration of Muon, and the step that it is for.
#include "muon.hpp"

#include <algorithm>
#include <cmath>

namespace puffer::train {
namespace {

constexpr int kRounds = 5;
constexpr double kPartWork = 3e5;  // multiplications, some 7 microseconds
// Jordan's: they lift small singular values fast instead of converging to 1.
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

}  // namespace

// c = finish(a b), of which each thread makes some rows.
template <class Finish>
void Muon::multiply(const std::vector<float>& a, int depth, int a_row, const std::vector<float>& b,
                    int columns, std::vector<float>& c, Finish&& finish) {
  const double work = static_cast<double>(height_) * columns * depth;
  const int parts = std::clamp(static_cast<int>(work / kPartWork), 1, threads_.size());
  threads_.run(parts, [&](int part, int) {
    const int first = height_ * part / parts, last = height_ * (part + 1) / parts;
    kernels_.multiply(last - first, columns, depth, a.data() + std::ptrdiff_t{first} * a_row, a_row,
                      b.data(), c.data() + std::ptrdiff_t{first} * columns);
    finish(first, last);
  });
}

void Muon::step(const Matrix& matrix, float rate, float decay) {
  const bool tall = matrix.rows > matrix.columns;
  height_ = std::min(matrix.rows, matrix.columns);
  width_ = std::max(matrix.rows, matrix.columns);
  const auto padded = [this](int n) { return (n + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes; };
  height_row_ = padded(height_);
  width_row_ = padded(width_);
  const auto size = [](int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  };
  x_.assign(size(height_, width_row_), 0);
  next_.resize(x_.size());
  transposed_.assign(size(width_, height_row_), 0);
  gram_.resize(size(height_, height_row_));
  polynomial_.resize(gram_.size());

  double squares = 0;
  const float* gradient = matrix.gradient;
  float* momentum = matrix.momentum;
  for (int i = 0; i < matrix.rows; ++i) {
    for (int j = 0; j < matrix.columns; ++j, ++gradient, ++momentum) {
      *momentum += (1 - decay) * (*gradient - *momentum);
      const float ahead = *gradient + decay * (*momentum - *gradient);  // as Nesterov has it
      squares += static_cast<double>(ahead) * ahead;
      x_[tall ? size(j, width_row_) + i : size(i, width_row_) + j] = ahead;
    }
  }
  const float scale = 1 / std::max(static_cast<float>(std::sqrt(squares)), 1e-7f);
  for (float& x : x_) x *= scale;
  transpose(x_, 0, height_);
  orthogonalize();
  const float step =
      rate * std::sqrt(std::max(1.0f, static_cast<float>(matrix.rows) / matrix.columns));
  float* weight = matrix.weight;
  for (int i = 0; i < matrix.rows; ++i) {
    for (int j = 0; j < matrix.columns; ++j, ++weight) {
      *weight -= step * x_[tall ? size(j, width_row_) + i : size(i, width_row_) + j];
    }
  }
}

// Rounds of x -> a x + b (x x') x + c (x x')^2 x.
void Muon::orthogonalize() {
  for (int round = 0; round < kRounds; ++round) {
    multiply(x_, width_, width_row_, transposed_, height_row_, gram_, [](int, int) {});
    multiply(gram_, height_, height_row_, gram_, height_row_, polynomial_, [&](int from, int to) {
      for (int i = from * height_row_; i < to * height_row_; ++i) {
        polynomial_[i] = kB * gram_[i] + kC * polynomial_[i];
      }
    });
    multiply(polynomial_, height_, height_row_, x_, width_row_, next_, [&](int from, int to) {
      for (int i = from * width_row_; i < to * width_row_; ++i) next_[i] += kA * x_[i];
      transpose(next_, from, to);
    });
    x_.swap(next_);
  }
}

void Muon::transpose(const std::vector<float>& x, int first, int last) {
  for (int j = 0; j < width_; ++j) {
    float* row = transposed_.data() + std::ptrdiff_t{j} * height_row_;
    for (int i = first; i < last; ++i) row[i] = x[static_cast<std::size_t>(i * width_row_ + j)];
  }
}

}  // namespace puffer::train
