"""The window of `render_mode="human"`: shows pictures at their pace, and obeys a few keys."""

from __future__ import annotations

from typing import Any

from puffer.ocean.render import ImageRenderer, Picture, require

CONTROLS = "p pause  n next step  + faster  - slower  Esc quit"
_SLOWEST, _FASTEST = 1 / 64, 64.0


class Window:
    """Shows each picture in one window and waits until the next frame is due.

    `p` pauses, `n` takes one step and pauses, `+` and `-` double and halve the speed; Esc and
    closing the window raise `KeyboardInterrupt`. Sizes and keys are pygame's.

    Attributes:
        speed: how many times as fast as the environment's natural speed.
        paused: whether the next picture stays until `n` or `p` is pressed.
        held: names of the keys that are down, such as `left`.
        pressed: names of the keys that went down since the last picture, in order.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._pygame = require("pygame", "human")
        self._pixels = ImageRenderer("human")
        self._window: Any = None
        self.speed = speed
        self.paused = False
        self.held: set[str] = set()
        self.pressed: list[str] = []

    def show(self, picture: Picture, frames_per_second: float) -> None:
        """Show one picture; return when the next one is due."""
        self._draw(picture, frames_per_second)
        self.pressed = []
        self._read_events()
        step = False
        while self.paused and not step:
            self._clock.tick(60)
            before = len(self.pressed)
            self._read_events()
            step = "n" in self.pressed[before:]
        self._clock.tick(frames_per_second * self.speed)

    def wait_for_key(self) -> str:
        """Return the name of the next key that is pressed and is none of the window's own."""
        while True:
            self.pressed = []
            self._read_events()
            if self.pressed:
                return self.pressed[0]
            self._clock.tick(60)

    def close(self) -> None:
        """Close the window; calling it again does nothing."""
        if self._window is not None:
            self._window = None
            self._pygame.display.quit()

    def _draw(self, picture: Picture, frames_per_second: float) -> None:
        pygame = self._pygame
        pixels = self._pixels.show(picture, frames_per_second)
        height, width, _ = pixels.shape
        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode((width, height))
            pygame.display.set_caption(f"Puffer: {CONTROLS}")
            self._clock = pygame.time.Clock()
        self._window.blit(pygame.image.frombuffer(pixels.tobytes(), (width, height), "RGB"), (0, 0))
        pygame.display.flip()

    def _read_events(self) -> None:
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.close()
                raise KeyboardInterrupt("the window was closed")
            if event.type == pygame.KEYUP:
                self.held.discard(pygame.key.name(event.key))
            elif event.type == pygame.KEYDOWN:
                self._obey(pygame.key.name(event.key))

    def _obey(self, key: str) -> None:
        if key == "escape":
            self.close()
            raise KeyboardInterrupt("Esc was pressed")
        if key == "p":
            self.paused = not self.paused
        elif key in ("+", "=", "[+]"):
            self.speed = min(self.speed * 2, _FASTEST)
        elif key in ("-", "[-]"):
            self.speed = max(self.speed / 2, _SLOWEST)
        elif key == "n":
            self.paused = True
            self.pressed.append(key)
        else:
            self.held.add(key)
            self.pressed.append(key)
