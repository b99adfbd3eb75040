// Starts Swagger UI. Its requests are sent with the signed-in user's cookie.
window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  persistAuthorization: false,
});

const root = document.documentElement;
const follow = () => root.classList.toggle("dark-mode", root.dataset.theme === "dark");
follow();
document.addEventListener("themechange", follow);
