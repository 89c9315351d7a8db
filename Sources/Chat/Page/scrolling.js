/** Follows the end of the conversation while the reader is there, and leaves a reader who went up alone. */

/** Pixels from the end that still count as the end. */
const NEAR = 48;

export class Scrolling {
  #scroller;
  #button;
  #follows = true;
  #lastTop = 0;
  #size = "";

  constructor(scroller, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.#resized()).observe(scroller);
  }

  /** After every change of what is shown. */
  update() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#button.hidden = this.#distance() <= NEAR;
  }

  toEnd() {
    this.#follows = true;
    this.update();
  }

  #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #resized() {
    this.#size = this.#currentSize();
    this.update();
  }

  #currentSize() {
    return `${this.#scroller.clientWidth} ${this.#scroller.clientHeight}`;
  }

  #scrolled() {
    // A window that changes its size, or a telephone that is turned, moves the text without a wish of anybody's.
    if (this.#size !== this.#currentSize()) return;
    const top = this.#scroller.scrollTop;
    const near = this.#distance() <= NEAR;
    // Only upwards is a wish to stay: the end runs away downwards by itself.
    if (near) this.#follows = true;
    else if (top < this.#lastTop) this.#follows = false;
    this.#lastTop = top;
    this.#button.hidden = near;
  }
}
