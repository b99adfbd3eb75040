// Starts Swagger UI. Requests go out with the cookie of the signed-in user.
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
