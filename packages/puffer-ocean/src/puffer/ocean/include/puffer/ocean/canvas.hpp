// What an environment draws on: a list of shapes. Python turns them into pixels, a window or text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace puffer::ocean {

struct Color {
  std::uint8_t red, green, blue;
};

struct Rectangle {
  float x, y, width, height;  // x, y: the upper left corner
  Color color;
};

struct Circle {
  float x, y, radius;
  Color color;
};

struct Line {
  float x0, y0, x1, y1, width;
  Color color;
};

struct Text {
  float x, y, size;  // x, y: the upper left corner; size: the height of the letters
  std::string text;
  Color color;
};

using Shape = std::variant<Rectangle, Circle, Line, Text>;

// Lengths are pixels, x grows to the right and y downwards; later shapes cover earlier ones.
class Canvas {
 public:
  // Begin a picture: call this first.
  void begin(float width, float height, Color background) {
    width_ = width;
    height_ = height;
    background_ = background;
    shapes_.clear();
  }

  void rectangle(float x, float y, float width, float height, Color color) {
    shapes_.emplace_back(Rectangle{x, y, width, height, color});
  }
  void circle(float x, float y, float radius, Color color) {
    shapes_.emplace_back(Circle{x, y, radius, color});
  }
  void line(float x0, float y0, float x1, float y1, float width, Color color) {
    shapes_.emplace_back(Line{x0, y0, x1, y1, width, color});
  }
  void text(float x, float y, float size, std::string text, Color color) {
    shapes_.emplace_back(Text{x, y, size, std::move(text), color});
  }

  float width() const { return width_; }
  float height() const { return height_; }
  Color background() const { return background_; }
  const std::vector<Shape>& shapes() const { return shapes_; }

 private:
  float width_ = 0;
  float height_ = 0;
  Color background_{0, 0, 0};
  std::vector<Shape> shapes_;
};

}  // namespace puffer::ocean
