// A step of Muon for one weight matrix: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
#pragma once

#include "perceptron.hpp"
#include "threads.hpp"

namespace puffer::train {

struct Matrix {
  int rows, columns;
  float* weight;  // (rows, columns), as all
  const float* gradient;
  float* momentum;
};

class Muon {
 public:
  Muon(const Kernels& kernels, Threads& threads) : kernels_(kernels), threads_(threads) {}

  // Moves the momentum towards the gradient by 1 - decay, and the weights by `rate` times the root
  // of height by width (at least 1) against the orthogonalized sum of both.
  void step(const Matrix& matrix, float rate, float decay);

 private:
  void orthogonalize();
  template <class Finish>
  void multiply(const std::vector<float>& a, int depth, int a_row, const std::vector<float>& b,
                int columns, std::vector<float>& c, Finish&& finish);
  void transpose(const std::vector<float>& x, int first, int last);

  const Kernels& kernels_;
  Threads& threads_;
  // The matrix, or its transpose if that is wider, `(height_, width_)`, in whole vector registers.
  int height_ = 0, width_ = 0, height_row_ = 0, width_row_ = 0;
  std::vector<float> x_, transposed_, gram_, polynomial_, next_;
};

}  // namespace puffer::train
